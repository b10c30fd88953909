/** Signals that end a service in order, or at once. */
import { constants } from 'node:os';

const SIGNALS = ['SIGTERM', 'SIGINT'] as const;
/** A process ends by itself when nothing is left to do, in far less. */
const END_PATIENCE_MS = 2000;

/**
 * A signal that aborts when the process is told to end. A second one ends it at once: by the system's default, and as process
 * 1 of a container, for which there is no default, by an exit of its own.
 */
export function stopSignal(): AbortSignal {
  const stop = new AbortController();
  for (const name of SIGNALS) {
    process.once(name, () => {
      stop.abort();
      if (process.pid === 1) process.once(name, () => process.exit(128 + constants.signals[name]));
    });
  }
  return stop.signal;
}

/**
 * Ends the process where something that was closed keeps it alive: BullMQ may connect again to a Redis that comes back just
 * while it is being closed, and holds that connection for ever.
 */
export function endSoon(): void {
  setTimeout(() => process.exit(), END_PATIENCE_MS).unref();
}
