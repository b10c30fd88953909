import { test } from 'tap';
import { nextBatch } from '../../src/inference/micro-batch.ts';
import type { Bundle } from '../../src/models/bundle.ts';

/** As much of a bundle as batching looks at: 4 prompts of 10 tokens. */
const bundleOf = (digest: string) =>
  ({ digest, manifest: { condition: { prompts: 4, tokens: 10 } } }) as Bundle;

const a = bundleOf('a');
const b = bundleOf('b');
const options = { tokenBudget: 100, waitMs: 5, nowMs: 1000 };

test('one request waits for company, but not longer than it may', async (t) => {
  const request = { bundle: a, arrivedAtMs: 998 };
  t.strictSame(nextBatch([request], options), { requests: [request], dueInMs: 3 });
  t.strictSame(nextBatch([request], { ...options, nowMs: 1010 }), { requests: [request], dueInMs: 0 });
});

test('requests of one bundle go together as far as the budget reaches', async (t) => {
  const first = { bundle: a, arrivedAtMs: 1000 };
  const other = { bundle: b, arrivedAtMs: 1000 };
  const second = { bundle: a, arrivedAtMs: 1000 };
  const third = { bundle: a, arrivedAtMs: 1000 };
  t.strictSame(nextBatch([first, other, second], options), { requests: [first, second], dueInMs: 5 });
  t.strictSame(
    nextBatch([first, other, second, third], options),
    { requests: [first, second], dueInMs: 0 },
    'full, since the third does not fit',
  );
});

test('a request larger than the budget goes alone and at once', async (t) => {
  const first = { bundle: a, arrivedAtMs: 1000 };
  const second = { bundle: a, arrivedAtMs: 1000 };
  t.strictSame(nextBatch([first, second], { ...options, tokenBudget: 30 }), {
    requests: [first],
    dueInMs: 0,
  });
});
