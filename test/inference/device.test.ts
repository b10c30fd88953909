import { join } from 'node:path';
import { InferenceSession } from 'onnxruntime-node';
import { test } from 'tap';
import { cudaProviderInstalled } from '../../src/inference/cuda-failure.ts';
import { parseDevice, proveDevice, withoutFallback } from '../../src/inference/device.ts';
import { untrainedBundle } from './bundles.ts';

test('device names', async (t) => {
  t.strictSame(parseDevice('cpu'), { provider: 'cpu', index: 0, optional: false });
  t.strictSame(parseDevice('auto'), { provider: 'cuda', index: 0, optional: true });
  t.strictSame(parseDevice('cuda'), { provider: 'cuda', index: 0, optional: false });
  t.strictSame(parseDevice('cuda:3'), { provider: 'cuda', index: 3, optional: false });
  for (const text of ['', 'gpu', 'cuda:', 'cuda:-1', 'cuda:100', 'CPU', 'cuda:1 ']) {
    t.throws(() => parseDevice(text), { code: 'device-unavailable' }, JSON.stringify(text));
  }
});

test('the CPU is proven by a run', async (t) => {
  t.strictSame(await proveDevice(parseDevice('cpu'), { threads: 2 }), {
    device: { provider: 'cpu', name: 'cpu', threads: 2 },
  });
});

test('CUDA is demanded by name and wished for by auto', async (t) => {
  // No machine has a hundred of them, so this holds with and without CUDA.
  await t.rejects(proveDevice(parseDevice('cuda:99'), { threads: 1 }), {
    code: 'device-unavailable',
    message: /^cuda:99 cannot be used: [^/]+\.$/,
  });
  const optional = { provider: 'cuda', index: 99, optional: true } as const;
  const { device, fallback } = await proveDevice(optional, { threads: 1 });
  t.equal(device.name, 'cpu');
  t.match(fallback?.reason, /^cuda:99 cannot be used/);
  t.equal(fallback?.expected, !cudaProviderInstalled());
});

test('a session that must be on the device alone does not open where the CPU would help out', async (t) => {
  const { directory, manifest } = await untrainedBundle(t);
  const open = (session: Record<string, string>) =>
    InferenceSession.create(join(directory, manifest.generator.graphs[0]!.file), {
      executionProviders: ['cpu'],
      extra: { session },
      logSeverityLevel: 4,
    });
  await t.resolves(open(withoutFallback({ provider: 'cpu' })));
  // The CPU provider itself is what the entry forbids.
  await t.rejects(open(withoutFallback({ provider: 'cuda' })), { message: /assigned to the default CPU EP/ });
});
