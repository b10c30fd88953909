/** Which provider runs the graphs: what the operator asked for, proven by running a graph on it. */

import { toLoradropError } from '../base/errors.ts';
import { cudaProviderInstalled, explainCudaFailure } from './cuda-failure.ts';
import type { Device } from './engine.ts';
import { inferenceErrors } from './errors.ts';
import { InferenceSession, Tensor } from './onnx-runtime.ts';
import { runtimeReason } from './runtime-reason.ts';

/** The providers worth trying, best first, and whether the first one is a wish or a demand. */
export type WantedDevice = {
  readonly provider: 'cpu' | 'cuda';
  /** CUDA device number. */
  readonly index: number;
  /** True when CPU may take its place. */
  readonly optional: boolean;
};

/**
 * `y = Conv(x, w)` of two 3×3 float32 maps (opset 13): a convolution, since that is what decoders are made of and what makes
 * CUDA load cuDNN, which comes apart from it.
 */
const PROBE_GRAPH = Buffer.from(
  'CAgSADprCg8KAXgKAXcSAXkiBENvbnYSAXBaGwoBeBIWChQIARIQCgIIAQoCCAEKAggDCgIIA1obCgF3EhYKFAgBEhAKAggBCgIIAQoCCAMKAggDYhsKAXkSFgoUCAESEAoCCAEKAggBCgIIAQoCCAFCBAoAEA0=',
  'base64',
);

/**
 * Reads `auto`, `cpu`, `cuda` or `cuda:N`. `auto` means CUDA where it works, else CPU.
 * Errors: `device-unavailable` for any other text.
 */
export function parseDevice(text: string): WantedDevice {
  const match = /^(?:(auto|cpu)|cuda(?::(\d{1,2}))?)$/.exec(text);
  if (!match) throw inferenceErrors.deviceUnavailable('A device is one of auto, cpu, cuda and cuda:N.');
  return {
    provider: match[1] === 'cpu' ? 'cpu' : 'cuda',
    index: Number(match[2] ?? 0),
    optional: match[1] === 'auto',
  };
}

/** The execution providers a session of this device is created with. */
export function executionProviders(device: Pick<Device, 'provider' | 'index'>) {
  return device.provider === 'cuda' ? [{ name: 'cuda', deviceId: device.index ?? 0 }] : ['cpu'];
}

/**
 * Entries of a session's configuration under which every operator runs on the device, or the session does not open: ONNX
 * Runtime adds its CPU provider to every session and gives it, in silence, what another one lacks.
 */
export function withoutFallback(device: Pick<Device, 'provider'>): Record<string, string> {
  return device.provider === 'cuda' ? { disable_cpu_ep_fallback: '1' } : {};
}

/** Why CPU took the place of an optional CUDA. */
export type Fallback = {
  readonly reason: string;
  /** True on a machine without any CUDA, which is where most run. */
  readonly expected: boolean;
};

/**
 * Runs a graph on the wanted provider and says which one it is.
 * Errors: `device-unavailable` when a demanded provider does not work.
 */
export async function proveDevice(
  wanted: WantedDevice,
  options: { threads: number },
): Promise<{ device: Device; fallback?: Fallback }> {
  const cpu: Device = { provider: 'cpu', name: 'cpu', threads: options.threads };
  if (wanted.provider === 'cpu') {
    await runProbe(cpu);
    return { device: cpu };
  }
  const { provider, index } = wanted;
  const cuda: Device = { provider, index, name: `cuda:${index}`, threads: options.threads };
  try {
    await runProbe(cuda);
    return { device: cuda };
  } catch (error) {
    if (!wanted.optional) throw error;
    await runProbe(cpu);
    return {
      device: cpu,
      fallback: { reason: toLoradropError(error).message, expected: !cudaProviderInstalled() },
    };
  }
}

async function runProbe(device: Device): Promise<void> {
  try {
    const session = await InferenceSession.create(PROBE_GRAPH, {
      executionProviders: executionProviders(device),
      extra: { session: withoutFallback(device) },
    });
    const map = new Tensor('float32', new Float32Array(9).fill(2), [1, 1, 3, 3]);
    const { y } = await session.run({ x: map, w: map });
    if (y?.data[0] !== 36) throw new Error('a probe graph gave a wrong number');
  } catch (cause) {
    const reason = device.provider === 'cuda' ? explainCudaFailure(cause) : runtimeReason(cause);
    throw inferenceErrors.deviceUnavailable(`${device.name} cannot be used: ${reason}.`, { cause });
  }
}
