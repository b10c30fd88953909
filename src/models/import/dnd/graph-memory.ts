/** What the graphs of a bundle take of memory on a CPU, as ONNX Runtime loads and runs them. */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { DecoderPlan } from '../spectral/candidates.ts';
import type { DecoderArchitecture } from './architecture.ts';
import { MAX_KERNEL_BYTES } from './decoder-graph.ts';

/**
 * Copies of a kernel that there are at once, beside the kernels that are finished, while it is brought into the layout that
 * convolutions want (measured: 2.9 to 3.3).
 */
const LOADING_COPIES = 3;
/** Activations alive at once, in sizes of the largest one: views, layouts, both branches (measured: 7 to 8). */
const LIVE_ACTIVATIONS = 8;
/** An encoder's weights, and their repacked copies while it loads. */
const ENCODER_COPIES = 2;

/** Results of a spectral convolution's operators alive at once, in sizes of its largest input and output together. */
const LIVE_RESULTS = 2;

/**
 * Estimated bytes that a decoder takes: to load, or to decode one condition, whichever is more. Kernels of direct
 * convolutions are copied into another layout and end up in memory once; spectra are mapped from their file as they are.
 */
export function decoderMemory({ features }: DecoderArchitecture, plan: DecoderPlan): number {
  const chosen = [...plan.values()];
  const activations = features.slice(1).flatMap(([nextN, nextL, nextC], index) => {
    const [n, l, c] = features[index]!;
    return [n * l * c, n * l * nextC, n * nextL * c, n * nextL * nextC, nextN * nextL * nextC];
  });
  const direct = chosen.filter(({ form }) => form.form === 'direct').map(({ weightBytes }) => weightBytes);
  const spectral = chosen.filter(({ form }) => form.form === 'spectral').map(({ workBytes }) => workBytes);
  const loadingBytes = LOADING_COPIES * Math.min(MAX_KERNEL_BYTES, Math.max(0, ...direct));
  const decodingBytes =
    LIVE_ACTIVATIONS * 4 * Math.max(...activations) + LIVE_RESULTS * Math.max(0, ...spectral);
  const kernels = chosen.reduce((sum, { weightBytes }) => sum + weightBytes, 0);
  return Math.ceil(kernels + Math.max(loadingBytes, decodingBytes));
}

/** Estimated bytes that an encoder takes to load, from its files in a directory. */
export async function encoderMemory(directory: string, files: readonly string[]): Promise<number> {
  const sizes = await Promise.all(files.map((file) => stat(join(directory, file))));
  return ENCODER_COPIES * sizes.reduce((sum, { size }) => sum + size, 0);
}
