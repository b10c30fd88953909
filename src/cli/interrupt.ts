/** Ctrl-C for commands that write files: they stop and clean up instead of dying where they stand. */
import { baseErrors } from '../base/errors.ts';

/** Runs the work with a signal that SIGINT and SIGTERM abort with `canceled`. A second signal ends the process as usual. */
export async function interruptible<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const abort = () => controller.abort(baseErrors.canceled('Interrupted: nothing was left behind.'));
  process.once('SIGINT', abort).once('SIGTERM', abort);
  try {
    return await work(controller.signal);
  } finally {
    process.off('SIGINT', abort).off('SIGTERM', abort);
  }
}
