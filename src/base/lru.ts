/** A least-recently-used map bounded by bytes. */
export type ByteLru<V> = {
  /** The value, now the most recently used, or undefined. */
  get(key: string): V | undefined;
  /** Keeps the value, dropping the least recently used ones until the sum of sizes fits; larger than the bound alone is not kept. */
  set(key: string, value: V, bytes: number): void;
  readonly bytes: number;
  readonly size: number;
};

/** Makes an empty {@link ByteLru} that never holds more than `maxBytes`. */
export function createByteLru<V>(maxBytes: number): ByteLru<V> {
  // A Map iterates in insertion order, so re-inserting on use keeps the oldest first.
  const entries = new Map<string, { value: V; bytes: number }>();
  let total = 0;
  const drop = (key: string) => {
    const entry = entries.get(key);
    if (!entry) return;
    entries.delete(key);
    total -= entry.bytes;
  };
  return {
    get(key) {
      const entry = entries.get(key);
      if (!entry) return undefined;
      entries.delete(key);
      entries.set(key, entry);
      return entry.value;
    },
    set(key, value, bytes) {
      drop(key);
      if (bytes > maxBytes) return;
      entries.set(key, { value, bytes });
      total += bytes;
      for (const oldest of entries.keys()) {
        if (total <= maxBytes) break;
        drop(oldest);
      }
    },
    get bytes() {
      return total;
    },
    get size() {
      return entries.size;
    },
  };
}
