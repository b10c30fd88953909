/** Opening one ONNX graph of a bundle with the options that every session of a device shares. */
import { join } from 'node:path';
import type { Bundle } from '../models/bundle.ts';
import { executionProviders, withoutFallback } from './device.ts';
import type { Device } from './engine.ts';
import { inferenceErrors } from './errors.ts';
import { InferenceSession, type Tensor } from './onnx-runtime.ts';
import { runtimeReason } from './runtime-reason.ts';

/**
 * Opens a graph of the bundle by path, since weights beside it may exceed what a buffer can hold. With `keepsWorkspace` false
 * the memory of a run on the CPU goes back to the system after it, instead of staying with the session for the next.
 * With `fallback` false every operator runs on the device. With `rewritesGraph` false it runs as it
 * is written: weights stored in half precision are widened at every use, instead of once and for good when it is loaded. Errors: `bundle-unloadable` with the file and ONNX Runtime's reason.
 */
export async function openSession(
  bundle: Bundle,
  file: string,
  device: Device,
  {
    keepsWorkspace = true,
    fallback = true,
    rewritesGraph = true,
  }: { keepsWorkspace?: boolean; fallback?: boolean; rewritesGraph?: boolean } = {},
): Promise<InferenceSession> {
  try {
    const model = bundle.supplied?.get(file) ?? join(bundle.directory, file);
    return await InferenceSession.create(model as string, {
      executionProviders: executionProviders(device),
      intraOpNumThreads: device.threads,
      enableCpuMemArena: keepsWorkspace,
      // Constant folding alone cannot be turned off: ONNX Runtime 1.30 takes the entry that names it and folds all the same.
      graphOptimizationLevel: rewritesGraph ? 'all' : 'disabled',
      extra: {
        session: {
          // Every session has a thread pool of its own: idle ones must not spin beside the one that works.
          intra_op: { allow_spinning: '0' },
          // CUDA's arena grows by doubling, which for gigabytes of weights can be gigabytes of nothing.
          ...(device.provider === 'cuda' && { use_device_allocator_for_initializers: '1' }),
          ...(!fallback && withoutFallback(device)),
        },
      },
      // Failures come as exceptions; what it would print besides is their repetition.
      logSeverityLevel: 4,
    });
  } catch (cause) {
    const reason = runtimeReason(cause, bundle);
    throw inferenceErrors.unloadable(`${file} does not load: ${reason}.`, { cause });
  }
}

/** Numbers in the host's memory. */
export type HostTensor = { readonly data: Float32Array; readonly dims: readonly number[] };

/** Runs a graph and takes one float32 output. Errors: `inference-failed` with the file and ONNX Runtime's reason. */
export async function runSession(
  session: InferenceSession,
  feeds: Record<string, Tensor>,
  { file, output }: { file: string; output: string },
): Promise<HostTensor> {
  const result = (await run(file, () => session.run(feeds, [output])))[output];
  if (!(result?.data instanceof Float32Array)) {
    throw inferenceErrors.unloadable(`${file} gives no float32 output ${output}.`);
  }
  return { data: result.data, dims: result.dims };
}

/**
 * Runs a graph that writes its outputs into memory of the caller's: what the runtime allocates for JavaScript stays until the
 * next garbage collection, and new memory takes as long as the arithmetic. Errors: those of {@link runSession}.
 */
export async function runSessionInto(
  session: InferenceSession,
  feeds: Record<string, Tensor>,
  { file, outputs }: { file: string; outputs: Record<string, Tensor> },
): Promise<void> {
  await run(file, () => session.run(feeds, outputs));
}

async function run<T>(file: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    throw inferenceErrors.runFailed(`${file} failed: ${runtimeReason(cause)}.`, { cause });
  }
}
