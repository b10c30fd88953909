import { test } from 'tap';
import { collectTensors } from '../../../../../src/models/import/checkpoint/torch/collect-tensors.ts';
import type { TorchTensor } from '../../../../../src/models/import/checkpoint/torch/objects.ts';

/** A tensor on a storage of its own of 24 floats. */
const tensor = (change: Partial<TorchTensor> = {}): TorchTensor => ({
  kind: 'tensor',
  storage: { kind: 'storage', key: '0', dtype: 'F32', elements: 24 },
  offset: 0,
  shape: [4, 6],
  strides: [6, 1],
  ...change,
});
const dict = (entries: Record<string, unknown>) => new Map<unknown, unknown>(Object.entries(entries));

test('tensors are found however deep they lie, by their path, and what is none beside them', (t) => {
  const [a, b] = [tensor(), tensor()];
  const { tensors, others } = collectTensors(
    dict({
      epoch: 3,
      'a.weight': a,
      ema: dict({ decay: 0.9, module: dict({ 'a.weight': b }) }),
      optimizer: dict({ state: new Map([[0, dict({ exp_avg: b })]]), param_groups: [dict({ lr: 1 })] }),
      shadow: [a, 'x'],
      '': 1,
    }),
  );
  t.same(
    [...tensors].map(([name, { tensor: found, dict: holder }]) => [name, found === a ? 'a' : 'b', holder]),
    [
      ['a.weight', 'a', ''],
      ['ema.module.a.weight', 'b', 'ema.module'],
      ['optimizer.state.0.exp_avg', 'b', 'optimizer.state.0'],
      ['shadow.0', 'a', ''],
    ],
  );
  t.same([...others.keys()], ['epoch', 'ema.decay', 'optimizer.param_groups.0.lr', 'shadow.1', '']);
  t.equal(collectTensors(new Map()).tensors.size, 0);
  t.end();
});

test('whatever is no dict of tensors is refused', (t) => {
  const inner = new Map<unknown, unknown>();
  inner.set('self', inner);
  inner.set('again', inner);
  for (const [value, message] of [
    [[tensor()], /no dict of tensors/],
    [tensor(), /no dict of tensors/],
    [{ kind: 'inert', name: 'argparse.Namespace' }, /an object of argparse\.Namespace/],
    [dict({ '': tensor() }), /name is no text/],
    [new Map([[null, tensor()]]), /name is no text/],
    [dict({ ['x'.repeat(513)]: tensor() }), /1 to 512 characters/],
    [dict({ a: dict({ b: tensor() }), 'a.b': tensor() }), /a\.b is there twice/],
    [dict({ a: Array(300_000).fill(0) }), /more than 262144 entries/],
  ] as const) {
    t.throws(() => collectTensors(value), { code: 'checkpoint-invalid', message }, message.source);
  }
  t.equal(collectTensors(dict({ a: tensor(), inner })).tensors.size, 1, 'a dict inside itself has an end');
  t.end();
});

test('a tensor stays inside its storage', (t) => {
  const read = (change: Partial<TorchTensor>) => collectTensors(dict({ weight: tensor(change) }));
  for (const change of [
    { shape: [6, 4], strides: [1, 6] },
    { shape: [2, 3], strides: [6, 1], offset: 15 },
    { shape: [], strides: [], offset: 23 },
    { shape: [0, 9], strides: [99, 1], offset: 99 },
  ]) {
    t.ok(read(change), JSON.stringify(change));
  }
  for (const change of [
    { shape: [5, 6] },
    { offset: 1 },
    { shape: [2, 3], strides: [6, 1], offset: 16 },
    { shape: [2, 2], strides: [Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER] },
    { shape: [2 ** 30, 2 ** 30], strides: [0, 0] },
    { shape: [], strides: [], offset: 24 },
  ]) {
    t.throws(
      () => read(change),
      {
        code: 'checkpoint-invalid',
        message: /^Tensor weight of shape \[.*\] reaches beyond its storage of 24/,
      },
      JSON.stringify(change),
    );
  }
  t.end();
});

test('tensors may share a storage, but not blow up a small file', (t) => {
  const shared = tensor();
  const named = (count: number) =>
    dict(Object.fromEntries([...Array(count).keys()].map((i) => [`w${i}`, shared])));
  t.equal(collectTensors(named(4)).tensors.size, 4);
  t.throws(() => collectTensors(named(5)), {
    code: 'checkpoint-invalid',
    message: /480 bytes, more than 4 times the 96/,
  });
  t.throws(() => collectTensors(dict({ weight: tensor({ shape: [1_000_000, 24], strides: [0, 1] }) })), {
    code: 'checkpoint-invalid',
    message: /more than 4 times/,
  });
  t.end();
});
