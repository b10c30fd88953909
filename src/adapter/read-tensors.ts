/** A safetensors file that comes as a stream: its header, then its tensors one after the other. */
import { adapterErrors } from './errors.ts';
import {
  LENGTH_BYTES,
  MAX_HEADER_BYTES,
  parseSafetensorsHeader,
  type SafetensorsHeader,
  type SafetensorsTensor,
} from './safetensors-header.ts';

/** Largest tensor that is held in memory: A of rank 512 over a width of 1,048,576 is larger than any base has. */
const MAX_TENSOR_BYTES = 1 << 30;

/** A tensor with its bytes, in memory of its own. */
export type TensorRead = { readonly tensor: SafetensorsTensor; readonly bytes: Uint8Array };

/** A file of which the header has been read. Disposing of it ends the stream. */
export type TensorStream = AsyncDisposable & {
  readonly header: SafetensorsHeader;
  /**
   * The tensors in the order of their bytes, once; one is in memory at a time. Errors: `safetensors-invalid` for a tensor
   * beyond 1 GiB and a stream that ends early or goes on; whatever the stream throws.
   */
  tensors(): AsyncGenerator<TensorRead, void, void>;
};

/**
 * Reads the header. `fileBytes` is the size that the file is known to have. Errors: `safetensors-invalid` for a header that
 * does not fit the size; whatever `content` throws.
 */
export async function openTensors(
  content: AsyncIterable<Uint8Array>,
  fileBytes: number,
): Promise<TensorStream> {
  const source = new ByteSource(content);
  try {
    const lengthBytes = await source.take(LENGTH_BYTES);
    const length = new DataView(lengthBytes.buffer).getBigUint64(0, true);
    if (length > MAX_HEADER_BYTES || Number(length) > fileBytes - LENGTH_BYTES) {
      throw adapterErrors.safetensors(`The header claims ${length} bytes, more than a file may have.`);
    }
    const headerBytes = await source.take(Number(length));
    const header = parseSafetensorsHeader(headerBytes, fileBytes - LENGTH_BYTES - Number(length));
    return {
      header,
      tensors: () => tensorsOf(header, source),
      [Symbol.asyncDispose]: () => source.close(),
    };
  } catch (error) {
    await source.close();
    throw error;
  }
}

async function* tensorsOf(
  { tensors }: SafetensorsHeader,
  source: ByteSource,
): AsyncGenerator<TensorRead, void, void> {
  for (const tensor of tensors) {
    if (tensor.bytes > MAX_TENSOR_BYTES) {
      throw adapterErrors.safetensors(
        `A tensor has ${tensor.bytes} bytes; ${MAX_TENSOR_BYTES} are the limit.`,
      );
    }
    yield { tensor, bytes: await source.take(tensor.bytes) };
  }
  if (!(await source.ended())) throw adapterErrors.safetensors('There are bytes behind the last tensor.');
}

/** The tensors of a file in the order of their bytes, with the errors of {@link openTensors} and its `tensors`. */
export async function* readTensors(
  content: AsyncIterable<Uint8Array>,
  fileBytes: number,
): AsyncGenerator<TensorRead, void, void> {
  await using stream = await openTensors(content, fileBytes);
  yield* stream.tensors();
}

/** A stream from which whole numbers of bytes are taken. */
class ByteSource {
  readonly #iterator: AsyncIterator<Uint8Array>;
  #rest: Uint8Array = new Uint8Array();

  constructor(content: AsyncIterable<Uint8Array>) {
    this.#iterator = content[Symbol.asyncIterator]();
  }

  async take(length: number): Promise<Uint8Array<ArrayBuffer>> {
    const out = new Uint8Array(length);
    for (let filled = 0; filled < length; ) {
      if (this.#rest.length === 0 && !(await this.#next())) {
        throw adapterErrors.safetensors('The file ends before its tensors do.');
      }
      const piece = this.#rest.subarray(0, length - filled);
      out.set(piece, filled);
      filled += piece.length;
      this.#rest = this.#rest.subarray(piece.length);
    }
    return out;
  }

  async ended(): Promise<boolean> {
    return this.#rest.length === 0 && !(await this.#next());
  }

  async close(): Promise<void> {
    await this.#iterator.return?.();
  }

  /** False at the end of the stream. */
  async #next(): Promise<boolean> {
    for (;;) {
      const { done, value } = await this.#iterator.next();
      if (done) return false;
      if (value.length === 0) continue;
      this.#rest = value;
      return true;
    }
  }
}
