/**
 * Adds what Loradrop and its dependencies use of the language and Node 20 does not have yet: `Promise.withResolvers` and
 * `Map.groupBy`. The first import of `main.ts` and of every process that is started by its file. `tsconfig.build.json` names
 * the libraries that the sources may count on, so the type check finds anything else that is newer than Node 20.
 */
const add = (owner: object, name: string, value: unknown) => {
  if (!(name in owner))
    Object.defineProperty(owner, name, { value, writable: true, enumerable: false, configurable: true });
};

add(Promise, 'withResolvers', function withResolvers<T>(this: PromiseConstructor) {
  let resolve!: (value: T | PromiseLike<T>) => void;
  let reject!: (reason?: unknown) => void;
  const promise = new this<T>((onFulfilled, onRejected) => {
    resolve = onFulfilled;
    reject = onRejected;
  });
  return { promise, resolve, reject };
});

add(Map, 'groupBy', <K, T>(items: Iterable<T>, keyOf: (item: T, index: number) => K) => {
  const groups = new Map<K, T[]>();
  let index = 0;
  for (const item of items) {
    const key = keyOf(item, index++);
    const group = groups.get(key);
    if (group) group.push(item);
    else groups.set(key, [item]);
  }
  return groups;
});
