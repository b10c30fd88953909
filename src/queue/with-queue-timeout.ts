import { LoradropError } from '../base/errors.ts';
import { queueErrors } from './errors.ts';

/**
 * The promise's value, or `queue-unavailable` when it fails with a foreign error or has not settled after `timeoutMs`:
 * a caller is never left hanging on a queue that is down. Failures of our own pass through.
 */
export async function withQueueTimeout<T>(answer: Promise<T>, timeoutMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const silence = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(
      () => reject(queueErrors.unavailable(`The queue has not answered within ${timeoutMs} ms.`)),
      timeoutMs,
    );
  });
  try {
    return await Promise.race([answer, silence]);
  } catch (error) {
    if (error instanceof LoradropError) throw error;
    throw queueErrors.unavailable('The queue did not carry out the call.', { cause: error });
  } finally {
    clearTimeout(timer);
  }
}
