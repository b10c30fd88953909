/** An adapter's files on their way into a store or a directory. */
import { ADAPTER_GGUF_FILE, convertToGguf, STORED_GGUF_DTYPE } from '../adapter/convert-gguf.ts';
import type { GgufTarget } from '../adapter/gguf-architecture.ts';
import { ADAPTER_CONFIG_FILE } from '../adapter/read-peft-config.ts';
import { ADAPTER_WEIGHTS_FILE } from '../adapter/verify.ts';
import { inStep, ReaderLeft } from '../base/in-step.ts';

/** Takes a file's bytes, in whatever way it keeps them. */
export type FileWriter<File> = (name: string, content: AsyncIterable<Uint8Array>) => Promise<File>;

/** What is to be written. */
export type AdapterFiles = {
  /** The bytes of the safetensors, once, and how many they are. */
  readonly weights: AsyncIterable<Uint8Array>;
  readonly weightBytes: number;
  /** The bytes of the PEFT configuration. */
  readonly config: Uint8Array;
  /** Given where `adapter.gguf` is to be written, too: what it is for. */
  readonly gguf?: GgufTarget;
};

/**
 * Writes the files, the configuration last and not beside them: a draft that outlives a full store then has one thing to begin
 * anew with. `adapter.gguf` is made of the bytes of the safetensors while these are written, so that it is what converting the
 * written file gives. Errors: those of the weights, of the conversion and of the writer.
 */
export async function writeAdapterFiles<File>(
  write: FileWriter<File>,
  { weights, weightBytes, config, gguf }: AdapterFiles,
  options: { signal?: AbortSignal } = {},
): Promise<{ readonly weights: File; readonly config: File }> {
  const written = gguf
    ? await writeTogether(write, weights, (content) =>
        convertToGguf(
          content,
          { config, weightBytes },
          { target: gguf, dtype: STORED_GGUF_DTYPE, ...options },
        ),
      )
    : await write(ADAPTER_WEIGHTS_FILE, weights);
  return { weights: written, config: await write(ADAPTER_CONFIG_FILE, onePiece(config)) };
}

async function writeTogether<File>(
  write: FileWriter<File>,
  weights: AsyncIterable<Uint8Array>,
  convert: (weights: AsyncIterable<Uint8Array>) => AsyncIterable<Uint8Array>,
): Promise<File> {
  const { readers, stop } = inStep(weights);
  const watched = async (name: string, content: AsyncIterable<Uint8Array>) => {
    try {
      return await write(name, content);
    } catch (error) {
      stop(error);
      throw error;
    }
  };
  const outcomes = await Promise.allSettled([
    watched(ADAPTER_WEIGHTS_FILE, readers[0]),
    watched(ADAPTER_GGUF_FILE, convert(readers[1])),
  ]);
  const failures = outcomes.filter((outcome) => outcome.status === 'rejected').map(({ reason }) => reason);
  if (failures.length > 0) throw failures.find((reason) => !(reason instanceof ReaderLeft)) ?? failures[0];
  return (outcomes[0] as PromiseFulfilledResult<File>).value;
}

async function* onePiece(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
