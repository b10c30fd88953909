/** What a reader meets when the other one has left before the end. */
export class ReaderLeft extends Error {}

/**
 * One stream for two readers that go through it in step: a piece is taken from the source when both have asked for one, so
 * that no more than one is held. Each reader must read to the end or be returned, and `stop` ends both for a reader that
 * fails before it begins.
 */
export function inStep<T>(source: AsyncIterable<T>): {
  readonly readers: readonly [AsyncIterable<T>, AsyncIterable<T>];
  /** The readers' next piece is this failure. Does nothing once the source has ended. */
  stop(reason: unknown): void;
} {
  const iterator = source[Symbol.asyncIterator]();
  let waiting: PromiseWithResolvers<IteratorResult<T>>[] = [];
  let ended: { readonly reason: unknown } | 'whole' | undefined;

  const end = (reason: unknown) => {
    if (ended) return;
    ended = { reason };
    for (const { reject } of waiting.splice(0)) reject(reason);
    // Whoever is stopped has the reason already.
    iterator.return?.().catch(() => undefined);
  };
  const pull = async () => {
    const both = waiting;
    waiting = [];
    try {
      const result = await iterator.next();
      if (result.done) ended ??= 'whole';
      for (const { resolve } of both) resolve(result);
    } catch (error) {
      ended ??= { reason: error };
      for (const { reject } of both) reject(error);
    }
  };
  const reader = (): AsyncIterableIterator<T> => ({
    [Symbol.asyncIterator]() {
      return this;
    },
    async next() {
      if (ended === 'whole') return { done: true, value: undefined };
      if (ended) throw ended.reason;
      const mine = Promise.withResolvers<IteratorResult<T>>();
      waiting.push(mine);
      if (waiting.length === 2) void pull();
      return await mine.promise;
    },
    async return() {
      end(new ReaderLeft('The other reader has left.'));
      return { done: true, value: undefined };
    },
  });
  return { readers: [reader(), reader()], stop: end };
}
