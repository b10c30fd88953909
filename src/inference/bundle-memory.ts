/** How much memory a bundle takes in the inference process, told from its manifest. */
import type { BundleManifest } from '../models/manifest.ts';

/** Node, ONNX Runtime's library and the tokenizer, before any weights (measured: 95 MB, and 40 MB for a vocabulary). */
export const PROCESS_BYTES = 144 << 20;

/**
 * Bytes of workspace that a run of the encoder takes, in sizes of its output `[tokens, width]` as float32. Measured with a
 * BERT of 12 heads and a feed-forward of four widths: 32 in slices of 384 tokens, 40 in slices of 512.
 */
const ENCODER_RUN_OUTPUTS = 40;

/**
 * Bytes that the process needs beside {@link PROCESS_BYTES} and the prompt cache to load the bundle on a CPU and to make
 * conditions and decode, one after the other: what the manifest estimates of both graphs, the encoder's workspace for
 * `encodeTokenBudget` tokens, and the embeddings of one condition.
 */
export function bundleMemory(
  { condition, encoder, decoder }: BundleManifest,
  options: { encodeTokenBudget: number },
): number {
  const { prompts, tokens, width, encoderTokens } = condition;
  const sliceTokens = Math.min(tokens, encoderTokens);
  const most = Math.max(sliceTokens, Math.min(options.encodeTokenBudget, encoder.maxBatch * sliceTokens));
  const encodingBytes = most * width * 4 * ENCODER_RUN_OUTPUTS;
  const embeddingsBytes = prompts * tokens * width * 4;
  return encoder.memoryBytes + encodingBytes + embeddingsBytes + decoder.memoryBytes;
}
