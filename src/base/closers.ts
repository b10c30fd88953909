/** Closing several parts in order, whatever any one of them does. */

/** The parts that have to be closed, in the order in which they were opened. */
export type Closers = {
  /** Registers a part under a name for the log. Throws once closing has begun. */
  add(part: string, close: () => Promise<void>): void;
  /**
   * Closes every part, newest first, so that nothing is closed while something that uses it still runs. A part that fails
   * does not keep the others open. Every call waits for the same end, and rejects with an `AggregateError` of all failures.
   */
  close(): Promise<void>;
};

/** Collects parts to close; `onFailure` is told of each one that fails, when it fails. */
export function collectClosers(onFailure: (part: string, error: unknown) => void): Closers {
  const opened: { readonly part: string; readonly close: () => Promise<void> }[] = [];
  const failures: { readonly part: string; readonly error: unknown }[] = [];
  const closeAll = async () => {
    for (const { part, close } of opened.toReversed()) {
      try {
        await close();
      } catch (error) {
        failures.push({ part, error });
        onFailure(part, error);
      }
    }
    if (failures.length === 0) return;
    const reasons = failures.map(
      ({ part, error }) => `${part}: ${error instanceof Error ? error.message : error}`,
    );
    throw new AggregateError(
      failures.map(({ error }) => error),
      `Not everything was closed in order. ${reasons.join('; ')}`,
    );
  };
  let closed: Promise<void> | undefined;
  return {
    add(part, close) {
      if (closed !== undefined) throw new Error(`${part} was opened after closing began.`);
      opened.push({ part, close });
    },
    close: () => (closed ??= closeAll()),
  };
}
