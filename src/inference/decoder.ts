/** The decoder of a bundle: one condition → all weight tokens. */

import type { Bundle } from '../models/bundle.ts';
import type { Device } from './engine.ts';
import { inferenceErrors } from './errors.ts';
import { type InferenceSession, Tensor } from './onnx-runtime.ts';
import { openSession, runSession } from './session.ts';

/** A loaded decoder. */
export type Decoder = {
  /** Graphs a decode runs: 1, or the number of stages. */
  readonly stages: number;
  /** Floats of one weight token, H × W. */
  readonly tokenFloats: number;
  /** `[1, N, Lt, C]` → `[T, H, W]`, row-major. */
  decode(
    condition: Float32Array,
    options: {
      readonly signal: AbortSignal;
      /** Lets the process do other things; awaited before every stage. */
      readonly turn: () => Promise<void>;
      readonly onProgress: (fraction: number) => void;
    },
  ): Promise<Float32Array>;
};

/**
 * From here on a decode on the CPU runs stage by stage: a second's work of two cores, which do about 200 GFLOP/s of direct
 * convolutions (a multiply-add is two). Below it, a cancel is heard soon enough after the run, and one graph saves copies.
 * The choice depends on the bundle and the provider alone, so that equal requests give equal bytes.
 */
const STAGED_FROM_MULTIPLY_ADDS = 1e11;

/**
 * Loads the decoder and runs it once, so that what follows meets a warm device: CUDA chooses its kernels then. A decoder that
 * runs stage by stage on a CPU is not run: it would find nothing to warm up, and every restart would take a decode longer. If
 * its first decode fails, that is told as a bundle that does not run. One condition a run (B = 1): convolutions
 * keep a CPU busy as they are, so a batch would save nothing, would multiply the memory of activations, and could let a
 * job's bytes depend on its neighbours. Errors: `bundle-unloadable`.
 */
export async function openDecoder(bundle: Bundle, device: Device): Promise<Decoder> {
  const { decoder, condition } = bundle.manifest;
  const staged =
    device.provider === 'cpu' &&
    decoder.stages.length > 1 &&
    decoder.multiplyAdds >= STAGED_FROM_MULTIPLY_ADDS;
  const parts = staged ? decoder.stages : [{ file: decoder.file, multiplyAdds: decoder.multiplyAdds }];
  // Spectra in half precision are there to save memory: widened at every use, they stay as they are in the file.
  const keepsHalf = decoder.precision === 'f16' && decoder.plan.some(({ form }) => form.form === 'spectral');
  const stages: { session: InferenceSession; file: string; multiplyAdds: number }[] = [];
  for (const part of parts) {
    // Stages run one after the other, so one's workspace can be the next one's. Kept by every session it would add up
    // (measured over eight stages: 280 MB instead of 80, in the same time).
    const options = { keepsWorkspace: !staged, fallback: false, rewritesGraph: !keepsHalf };
    const session = await openSession(bundle, part.file, device, options);
    stages.push({ ...part, session });
  }
  const multiplyAdds = parts.reduce((sum, part) => sum + part.multiplyAdds, 0);
  const inputShape = [1, condition.prompts, condition.tokens, condition.width];
  const [tokens, height, width] = decoder.features.at(-1)!;

  const run: Decoder['decode'] = async (values, { signal, turn, onProgress }) => {
    let x = { data: values, dims: inputShape as readonly number[] };
    let done = 0;
    for (const { session, file, multiplyAdds: share } of stages) {
      await turn();
      signal.throwIfAborted();
      onProgress(done / multiplyAdds);
      const feeds = { [session.inputNames[0]!]: new Tensor('float32', x.data, x.dims) };
      x = await runSession(session, feeds, { file, output: session.outputNames[0]! });
      done += share;
    }
    if (x.dims.join() !== `1,${tokens},${height},${width}`) {
      throw inferenceErrors.unloadable(
        `${stages.at(-1)!.file} gives [${x.dims.join(', ')}] instead of [1, ${tokens}, ${height}, ${width}].`,
      );
    }
    onProgress(1);
    return x.data;
  };

  let hasRun = false;
  const decode: Decoder['decode'] = async (values, options) => {
    try {
      const tokens = await run(values, options);
      hasRun = true;
      return tokens;
    } catch (cause) {
      options.signal.throwIfAborted();
      throw !hasRun && cause instanceof Error ? inferenceErrors.unloadable(cause.message, { cause }) : cause;
    }
  };

  if (!staged) {
    await decode(new Float32Array(inputShape.reduce((a, b) => a * b)), {
      signal: new AbortController().signal,
      turn: async () => {},
      onProgress: () => {},
    });
  }
  return { stages: stages.length, tokenFloats: height * width, decode };
}
