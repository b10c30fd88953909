import { test } from 'tap';
import { findStateDict } from '../../../../../src/models/import/checkpoint/torch/find-state-dict.ts';
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

test('the state dict is the dict of tensors alone, or what its wrapper holds', (t) => {
  const [a, b] = [tensor(), tensor()];
  const state = dict({ a, b });
  t.same([...findStateDict(state)], [...state]);
  for (const key of ['state_dict', 'model_state_dict', 'model', 'module']) {
    t.same(
      [...findStateDict(dict({ [key]: state, epoch: 3, optimizer: dict({ state: null }) }))],
      [...state],
      key,
    );
  }
  t.same(
    [...findStateDict(dict({ model: tensor(), 'model.a': a })).keys()],
    ['model', 'model.a'],
    'a name of its own',
  );
  t.equal(findStateDict(new Map()).size, 0);
  t.end();
});

test('whatever is not clearly a state dict is refused', (t) => {
  const state = dict({ a: tensor() });
  for (const [value, message] of [
    [[tensor()], /no dict of tensors/],
    [tensor(), /no dict of tensors/],
    [dict({ model: state, state_dict: state }), /has state_dict and model, and nothing tells/],
    [dict({ a: tensor(), epoch: 3 }), /Entry epoch is no tensor/],
    [dict({ generator: state }), /Entry generator is no tensor.*must be under state_dict, /],
    [dict({ model: dict({ a: tensor(), version: 'x' }) }), /Entry version is no tensor/],
    [new Map([[1, tensor()]]), /name is no text/],
    [dict({ '': tensor() }), /name is no text/],
    [dict({ ['x'.repeat(513)]: tensor() }), /1 to 512 characters/],
  ] as const) {
    t.throws(() => findStateDict(value), { code: 'checkpoint-invalid', message }, message.source);
  }
  t.end();
});

test('a tensor stays inside its storage', (t) => {
  const read = (change: Partial<TorchTensor>) => findStateDict(dict({ weight: tensor(change) }));
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
  t.equal(findStateDict(named(4)).size, 4);
  t.throws(() => findStateDict(named(5)), {
    code: 'checkpoint-invalid',
    message: /480 bytes, more than 4 times the 96/,
  });
  t.throws(() => findStateDict(dict({ weight: tensor({ shape: [1_000_000, 24], strides: [0, 1] }) })), {
    code: 'checkpoint-invalid',
    message: /more than 4 times/,
  });
  t.end();
});
