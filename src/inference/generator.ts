/** The generator of a bundle: one condition → the bytes of an adapter's tensors. */

import { toLoradropError } from '../base/errors.ts';
import { loraErrors } from '../lora/errors.ts';
import type { Bundle } from '../models/bundle.ts';
import type { Device } from './engine.ts';
import { inferenceErrors } from './errors.ts';
import { type Matrices, openMatrices } from './matrices.ts';
import { type InferenceSession, Tensor } from './onnx-runtime.ts';
import type { Rounding } from './rounding.ts';
import { type HostTensor, openSession, runSession } from './session.ts';

/** A loaded generator. */
export type Generator = {
  /** Graphs a run takes, those of matrices left out. */
  readonly stages: number;
  /** The condition → what the graphs of matrices take; the condition itself where there are no other graphs. */
  run(
    condition: Float32Array,
    options: {
      readonly signal: AbortSignal;
      /** Lets the process do other things; awaited before every stage. */
      readonly turn: () => Promise<void>;
      readonly onProgress: (fraction: number) => void;
    },
  ): Promise<HostTensor>;
  /** That value → the bytes of the adapter's tensors. */
  readonly write: Matrices['write'];
};

/**
 * From here on a run on the CPU goes stage by stage: a second's work of two cores, which do about 200 GFLOP/s of direct
 * convolutions (a multiply-add is two). Below it, a cancel is heard soon enough after the run, and one graph saves copies.
 * The choice depends on the bundle and the provider alone, so that equal requests give equal bytes.
 */
const STAGED_FROM_MULTIPLY_ADDS = 1e11;

/**
 * Loads the generator and runs it once, so that what follows meets a warm device: CUDA chooses its kernels then. One that runs
 * stage by stage on a CPU is not run: it would find nothing to warm up, and every restart would take a run longer. If
 * its first run fails, that is told as a bundle that does not run. One condition a run (B = 1): convolutions
 * keep a CPU busy as they are, so a batch would save nothing, would multiply the memory of activations, and could let a
 * job's bytes depend on its neighbours. Errors: `bundle-unloadable`.
 */
export async function openGenerator(bundle: Bundle, device: Device, round: Rounding): Promise<Generator> {
  const { generator, dnd } = bundle.manifest;
  const staged =
    device.provider === 'cpu' &&
    generator.stages.length > 1 &&
    generator.multiplyAdds >= STAGED_FROM_MULTIPLY_ADDS;
  const parts = staged ? generator.stages : generator.graphs;
  // Spectra in half precision are there to save memory: widened at every use, they stay as they are in the file.
  const keepsHalf =
    generator.precision === 'f16' && (dnd?.plan.some(({ form }) => form.form === 'spectral') ?? false);
  const stages: { session: InferenceSession; file: string; multiplyAdds: number }[] = [];
  for (const part of parts) {
    // Stages run one after the other, so one's workspace can be the next one's. Kept by every session it would add up
    // (measured over eight stages: 280 MB instead of 80, in the same time).
    const options = { keepsWorkspace: !staged, fallback: false, rewritesGraph: !keepsHalf };
    const session = await openSession(bundle, part.file, device, options);
    stages.push({ ...part, session });
  }
  const matrices = await openMatrices(bundle, device, round);
  const multiplyAdds = parts.reduce((sum, part) => sum + part.multiplyAdds, 0);
  const inputShape = conditionShape(bundle);

  const runStages: Generator['run'] = async (values, { signal, turn, onProgress }) => {
    let x: HostTensor = { data: values, dims: inputShape };
    let done = 0;
    for (const { session, file, multiplyAdds: share } of stages) {
      await turn();
      signal.throwIfAborted();
      onProgress(done / multiplyAdds);
      const feeds = { [session.inputNames[0]!]: new Tensor('float32', x.data, x.dims) };
      x = await runSession(session, feeds, { file, output: session.outputNames[0]! });
      done += share;
    }
    onProgress(1);
    return x;
  };

  let hasRun = false;
  const run: Generator['run'] = async (values, options) => {
    try {
      const value = await runStages(values, options);
      hasRun = true;
      return value;
    } catch (cause) {
      options.signal.throwIfAborted();
      throw !hasRun && cause instanceof Error ? inferenceErrors.unloadable(cause.message, { cause }) : cause;
    }
  };

  if (!staged) {
    const turn = async () => {};
    const value = await run(new Float32Array(inputShape.reduce((a, b) => a * b)), {
      signal: new AbortController().signal,
      turn,
      onProgress: () => {},
    });
    await matrices.write(value, { dtype: 'f32', write: () => {}, turn }).catch((cause: unknown) => {
      // A condition of zeros is none that a prompt makes: what comes of it need not be finite.
      const { code } = toLoradropError(cause);
      if (code === loraErrors.notFinite.spec.code) return;
      throw inferenceErrors.unloadable((cause as Error).message, { cause });
    });
  }
  return { stages: stages.length, run, write: matrices.write };
}

/** The shape of a bundle's condition. */
export function conditionShape({ manifest }: Pick<Bundle, 'manifest'>): number[] {
  const { pooling, prompts, tokens, width } = manifest.condition;
  return pooling === 'none' ? [1, prompts, tokens, width] : [1, width];
}
