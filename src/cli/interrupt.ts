/** Ctrl-C for commands that write files: they stop and clean up instead of dying where they stand. */
import { baseErrors } from '../base/errors.ts';

/**
 * Runs the work with a signal that SIGINT and SIGTERM abort with `canceled`; `left` says what is left then. A second signal
 * ends the process as usual.
 */
export async function interruptible<T>(
  work: (signal: AbortSignal) => Promise<T>,
  { left = 'nothing was left behind' }: { left?: string } = {},
): Promise<T> {
  const controller = new AbortController();
  // Not `once`: some libraries end the process on a signal for which they find no other listener than their own.
  const abort = (name: NodeJS.Signals) => {
    if (controller.signal.aborted) {
      release();
      process.kill(process.pid, name);
    }
    controller.abort(baseErrors.canceled(`Interrupted: ${left}.`));
  };
  const release = () => process.off('SIGINT', abort).off('SIGTERM', abort);
  process.on('SIGINT', abort).on('SIGTERM', abort);
  try {
    return await work(controller.signal);
  } catch (error) {
    // Node's streams end with an AbortError of their own and have the reason below it.
    const { aborted, reason } = controller.signal;
    throw aborted && error instanceof Error && error.name === 'AbortError' ? reason : error;
  } finally {
    release();
  }
}
