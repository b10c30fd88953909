/** A file's bytes on their way to a store, kept so that they can be sent again. */
export type KeptContent = {
  /** All bytes from the beginning: those that are kept, then the rest as it comes. One reader at a time. */
  read(): AsyncIterable<Uint8Array>;
  /** Takes in what has not come yet. Errors: those of the source. */
  drain(): Promise<void>;
  /** Ends the source and forgets what was kept. */
  close(): Promise<void>;
};

/** Keeps what is read of a source. */
export function keepContent(source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): KeptContent {
  const pieces: Uint8Array[] = [];
  const rest = (async function* () {
    yield* source;
  })();
  let ended = false;

  async function pull(): Promise<void> {
    const { done, value } = await rest.next();
    if (done) ended = true;
    else pieces.push(value);
  }

  return {
    // A reader that stops early must not end the source, as leaving its own loop would.
    async *read() {
      for (let next = 0; ; next++) {
        if (next === pieces.length && !ended) await pull();
        if (next === pieces.length) return;
        yield pieces[next]!;
      }
    },
    async drain() {
      while (!ended) await pull();
    },
    async close() {
      ended = true;
      pieces.length = 0;
      await rest.return();
    },
  };
}
