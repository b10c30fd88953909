/** How much memory a bundle takes in the inference process, told from its manifest. */
import type { BundleManifest } from '../models/manifest.ts';

/** Node, ONNX Runtime's library and the tokenizer, before any weights (measured: 95 MB, and 40 MB for a vocabulary). */
export const PROCESS_BYTES = 144 << 20;

/**
 * Bytes of workspace that a run of the encoder takes, in sizes of its output `[tokens, width]` as float32. Measured with a
 * BERT of 12 heads and a feed-forward of four widths: 32 in slices of 384 tokens, 40 in slices of 512.
 */
const ENCODER_RUN_OUTPUTS = 40;

/** Width of a head of attention, by which encoders have as many as their width allows. */
const HEAD_WIDTH = 64;
/** Tables of every token's attention to every other, a head each, alive at once; of long texts they are most of a run. */
const LIVE_SCORES = 2;

/** Copies of a module's matrices in all layers, as float32, while they are made and rounded. */
const LIVE_MATRICES = 4;

/**
 * Bytes that the process needs beside {@link PROCESS_BYTES} and the prompt cache to load the bundle on a CPU and to make
 * conditions and decode, one after the other: what the manifest estimates of both graphs, the encoder's workspace for
 * `encodeTokenBudget` tokens, and the embeddings of one condition.
 */
export function bundleMemory(
  { condition, encoder, generator, layout }: BundleManifest,
  options: { encodeTokenBudget: number },
): number {
  const { pooling, prompts, tokens, width, encoderTokens } = condition;
  const sliceTokens = Math.min(
    tokens,
    encoderTokens,
    ...(pooling === 'none' ? [] : [options.encodeTokenBudget]),
  );
  const most = Math.max(sliceTokens, Math.min(options.encodeTokenBudget, encoder.maxBatch * sliceTokens));
  const heads = Math.max(1, width / HEAD_WIDTH);
  // Slices are short, and what they take is in the outputs that were measured.
  const scoresBytes = pooling === 'none' ? 0 : LIVE_SCORES * 4 * heads * sliceTokens ** 2;
  const encodingBytes = most * width * 4 * ENCODER_RUN_OUTPUTS + scoresBytes;
  const embeddingsBytes = pooling === 'none' ? prompts * tokens * width * 4 : width * 4;
  const largest = Math.max(...layout.modules.map((module) => module.in + module.out));
  const matricesBytes = LIVE_MATRICES * 4 * layout.layers * layout.rank * largest;
  return encoder.memoryBytes + encodingBytes + embeddingsBytes + generator.memoryBytes + matricesBytes;
}
