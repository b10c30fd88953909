/** What the graphs of a bundle take of memory on a CPU, as ONNX Runtime loads and runs them. */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { DecoderArchitecture } from './architecture.ts';
import type { PlacedWeights } from './decoder-graph.ts';

/**
 * Copies of a kernel that there are at once, beside the kernels that are finished, while it is brought into the layout that
 * convolutions want (measured: 2.9 to 3.3).
 */
const LOADING_COPIES = 3;
/** A kernel above this is loaded in slices (see decoder-graph.ts). */
const MAX_SLICE_BYTES = 1 << 30;
/** Activations alive at once, in sizes of the largest one: views, layouts, both branches (measured: 7 to 8). */
const LIVE_ACTIVATIONS = 8;
/** An encoder's weights, and their repacked copies while it loads. */
const ENCODER_COPIES = 2;

/**
 * Estimated bytes that a decoder of direct convolutions takes: to load, or to decode one condition, whichever is more. Its
 * weights end up in memory once.
 */
export function decoderMemory({ features }: DecoderArchitecture, weights: PlacedWeights): number {
  const kernels = [...weights.values()].map(({ bytes }) => bytes);
  const activations = features.slice(1).flatMap(([nextN, nextL, nextC], index) => {
    const [n, l, c] = features[index]!;
    return [n * l * c, n * l * nextC, n * nextL * c, n * nextL * nextC, nextN * nextL * nextC];
  });
  const loadingBytes = LOADING_COPIES * Math.min(MAX_SLICE_BYTES, Math.max(...kernels));
  const decodingBytes = LIVE_ACTIVATIONS * 4 * Math.max(...activations);
  return kernels.reduce((sum, bytes) => sum + bytes) + Math.max(loadingBytes, decodingBytes);
}

/** Estimated bytes that an encoder takes to load, from its files in a directory. */
export async function encoderMemory(directory: string, files: readonly string[]): Promise<number> {
  const sizes = await Promise.all(files.map((file) => stat(join(directory, file))));
  return ENCODER_COPIES * sizes.reduce((sum, { size }) => sum + size, 0);
}
