/** A heap: the least of its values comes out first. */
export type Heap<T> = { push(value: T): void; pop(): T | undefined };

/** An empty heap that orders by `compare`, as `sort` would. */
export function createHeap<T>(compare: (a: T, b: T) => number): Heap<T> {
  const values: T[] = [];
  const swap = (a: number, b: number) => {
    [values[a], values[b]] = [values[b]!, values[a]!];
  };
  const isLess = (a: number, b: number) =>
    b < values.length && a < values.length && compare(values[a]!, values[b]!) < 0;
  return {
    push(value) {
      let at = values.push(value) - 1;
      for (let parent = (at - 1) >> 1; at > 0 && isLess(at, parent); parent = (at - 1) >> 1) {
        swap(at, parent);
        at = parent;
      }
    },
    pop() {
      const top = values[0];
      const last = values.pop();
      if (values.length === 0 || last === undefined) return top;
      values[0] = last;
      for (let at = 0; ; ) {
        const left = 2 * at + 1;
        const least = isLess(left + 1, left) ? left + 1 : left;
        if (!isLess(least, at)) return top;
        swap(at, least);
        at = least;
      }
    },
  };
}
