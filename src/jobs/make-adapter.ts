/** One condition's prompts → one adapter's files: the part of the pipeline that the queue and the command line share. */

import { conversionKey, STORED_GGUF_DTYPE } from '../adapter/convert-gguf.ts';
import type { GgufTarget } from '../adapter/gguf-architecture.ts';
import { peftConfig } from '../adapter/peft-config.ts';
import { safetensorsHeader, writeTensorBytes } from '../adapter/safetensors.ts';
import { type Sha256, sha256, sha256Json } from '../base/digest.ts';
import type { Dtype } from '../base/dtype.ts';
import type { Device, Engine, Inference, InferenceProgress } from '../inference/engine.ts';
import { loraTensors } from '../lora/tensors.ts';
import type { Bundle } from '../models/bundle.ts';
import { inSpan, type Span } from '../observability/tracing.ts';
import { type FileWriter, writeAdapterFiles } from './write-adapter-files.ts';

/**
 * Raised whenever the same prompts, bundle, dtype and provider would give other bytes than before, so that adapters made
 * by an older version are not taken for repeats.
 */
const PIPELINE_VERSION = 2;

/** What is being done for an adapter. */
export type AdapterStage = 'loading' | 'embedding' | 'decoding' | 'writing';

/** Where each stage begins and ends on the way to an adapter: binary fractions, so that no rounding makes progress fall. */
const SPANS: Readonly<Record<AdapterStage, readonly [number, number]>> = {
  loading: [0, 1 / 64],
  embedding: [1 / 64, 1 / 4],
  decoding: [1 / 4, 7 / 8],
  writing: [7 / 8, 1],
};

/** How much of an adapter is done when this share of a stage is. */
export function adapterFraction(stage: AdapterStage, fraction: number): number {
  const [from, to] = SPANS[stage];
  return from + (to - from) * fraction;
}

/** What makes one adapter. */
export type AdapterRequest = {
  readonly bundle: Bundle;
  /** Exactly N, in condition order. */
  readonly prompts: readonly string[];
  readonly dtype: Dtype;
  /** Given where the adapter is to be kept as GGUF, too: what it is for. */
  readonly gguf?: GgufTarget;
};

/** A finished adapter's files and how they came about. */
export type MadeAdapter<File> = {
  readonly weights: File;
  readonly config: File;
  readonly inference: Inference;
  readonly writingMs: number;
};

/** Tensors and numbers of every adapter of a bundle. */
export function adapterSize(bundle: Bundle): { readonly tensors: number; readonly parameters: number } {
  const tensors = loraTensors(bundle.manifest.layout);
  return {
    tensors: tensors.length,
    parameters: tensors.reduce((sum, { shape }) => sum + shape[0] * shape[1], 0),
  };
}

/** SHA-256 of each prompt, in condition order: what a job shows in place of the text. */
export function promptDigests(prompts: readonly string[]): Sha256[] {
  return prompts.map((prompt) => sha256(prompt));
}

/** The digest of everything an adapter's bytes depend on. */
export function contentKey(
  {
    bundle,
    dtype,
    gguf,
    promptDigests,
  }: Omit<AdapterRequest, 'prompts'> & {
    readonly promptDigests: readonly Sha256[];
  },
  device: Pick<Device, 'provider'>,
): Sha256 {
  return sha256Json({
    pipeline: PIPELINE_VERSION,
    bundle: bundle.digest,
    prompts: promptDigests,
    dtype,
    provider: device.provider,
    ...(gguf && { gguf: conversionKey({ target: gguf, dtype: STORED_GGUF_DTYPE }) }),
  });
}

/** What {@link writeAdapter} reports. */
type AdapterProgress = InferenceProgress | { stage: 'writing'; fraction: number };

/** How an adapter is made. */
type MakingOptions = {
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: AdapterProgress) => void;
  /** What the engine's and the writer's spans are parts of. */
  readonly span?: Span;
};

/**
 * Runs the engine and writes the adapter as its bytes come, in the order of the file, so that memory stays bounded. Errors:
 * those of the engine, of a conversion to GGUF and of the writer.
 */
export async function writeAdapter<File>(
  engine: Pick<Engine, 'infer'>,
  request: AdapterRequest,
  write: FileWriter<File>,
  options: MakingOptions = {},
): Promise<MadeAdapter<File>> {
  const { bundle, prompts, dtype, gguf } = request;
  const { layout, base } = bundle.manifest;
  const { signal, span } = options;
  const aborting = signal ? { signal } : {};
  const tensors = loraTensors(layout);
  const { totalBytes } = safetensorsHeader(tensors, dtype);
  const inference = await engine.infer({ bundle, prompts, dtype }, options);
  const startedAt = performance.now();
  try {
    return await inSpan(span, 'write adapter', async () => {
      const files = await writeAdapterFiles(
        write,
        {
          weights: told(writeTensorBytes(tensors, inference.pieces, dtype), totalBytes, options),
          weightBytes: totalBytes,
          config: peftConfig(base, layout),
          ...(gguf && { gguf }),
        },
        aborting,
      );
      return { ...files, inference, writingMs: performance.now() - startedAt };
    });
  } finally {
    // A writer that fails before its first byte has not begun to read.
    inference.release();
  }
}

/** The same bytes; tells how many have gone. */
async function* told(
  pieces: AsyncIterable<Uint8Array>,
  totalBytes: number,
  { signal, onProgress }: MakingOptions,
): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  for await (const piece of pieces) {
    signal?.throwIfAborted();
    yield piece;
    bytes += piece.length;
    onProgress?.({ stage: 'writing', fraction: bytes / totalBytes });
  }
}
