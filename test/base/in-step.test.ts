import { test } from 'tap';
import { inStep, ReaderLeft } from '../../src/base/in-step.ts';

/** Counts up to `count`; tells how many were taken and whether it was closed. */
function counter(count: number) {
  const seen = { taken: 0, closed: false };
  async function* numbers() {
    try {
      while (seen.taken < count) yield seen.taken++;
    } finally {
      seen.closed = true;
    }
  }
  return { seen, numbers: numbers() };
}

async function all<T>(source: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of source) items.push(item);
  return items;
}

test('both readers get everything, and neither is more than one piece ahead', async (t) => {
  const { seen, numbers } = counter(5);
  const { readers, stop } = inStep(numbers);
  const [first, second] = readers.map((reader) => reader[Symbol.asyncIterator]()) as [
    AsyncIterator<number>,
    AsyncIterator<number>,
  ];
  const ahead = first.next();
  await new Promise(setImmediate);
  t.equal(seen.taken, 0, 'nothing is taken for one reader alone');
  t.strictSame([await second.next(), await ahead], Array(2).fill({ done: false, value: 0 }));
  const rest = [all({ [Symbol.asyncIterator]: () => first }), all({ [Symbol.asyncIterator]: () => second })];
  t.strictSame(await Promise.all(rest), Array(2).fill([1, 2, 3, 4]));
  stop(new Error('too late'));
  t.match(await first.next(), { done: true });
  t.ok(seen.closed);
});

test('the end of one reader is the end of the other', { timeout: 10_000 }, async (t) => {
  const { seen, numbers } = counter(5);
  const [first, second] = inStep(numbers).readers;
  const waits = all(second);
  for await (const item of first) if (item === 1) break;
  t.ok((await waits.catch((error) => error)) instanceof ReaderLeft);
  t.ok(seen.closed);
  t.equal(seen.taken, 2);
});

test('a reader that never begins does not keep the other waiting', { timeout: 10_000 }, async (t) => {
  const { seen, numbers } = counter(5);
  const { readers, stop } = inStep(numbers);
  const waits = all(readers[0]);
  stop(new Error('no room'));
  await t.rejects(waits, { message: 'no room' });
  await t.rejects(all(readers[1]), { message: 'no room' });
  t.equal(seen.taken, 0);
});

test('both hear of a failure of the source', async (t) => {
  const failing = (async function* () {
    yield 1;
    throw new Error('broken');
  })();
  const outcomes = await Promise.allSettled(inStep(failing).readers.map(all));
  t.match(outcomes, Array(2).fill({ status: 'rejected', reason: { message: 'broken' } }));
});
