/** Scoring a base alone and with an adapter in a process of its own, within bounds. */
import { constants, setPriority } from 'node:os';
import { LoradropError } from '../base/errors.ts';
import { ForkedProcess } from '../base/forked-process.ts';
import { evaluationErrors } from './errors.ts';
import type { ValidationAnswer, ValidationRequest, ValidationScores } from './validation-protocol.ts';

/** Where lines of the process go. */
type Log = { debug(fields: object, message: string): void; warn(fields: object, message: string): void };

/**
 * Scores rows in a process that goes behind generation where both want the processor, and is ended after `timeoutMs`. Errors:
 * `evaluation-data-invalid`, `base-model-unusable`, `base-runtime-missing`, `base-adapter-refused`, `evaluation-ended`; the signal's
 * reason.
 */
export async function validateAdapter(
  request: ValidationRequest,
  options: { signal: AbortSignal; timeoutMs: number; environment: NodeJS.ProcessEnv; logger: Log },
): Promise<ValidationScores> {
  const { signal, timeoutMs, environment, logger } = options;
  signal.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<ValidationAnswer>();
  const child = new ForkedProcess<ValidationRequest, ValidationAnswer>({
    entry: new URL('./validation-process.ts', import.meta.url),
    what: 'validation process',
    environment,
    logger,
    onMessage: resolve,
  });
  const timer = setTimeout(
    () => reject(evaluationErrors.ended(`It took longer than ${Math.round(timeoutMs / 1000)} seconds.`)),
    timeoutMs,
  );
  const abort = () => reject(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  void child.exited.then((how) =>
    reject(evaluationErrors.ended(`The process that scores rows ended (${how}).`)),
  );
  try {
    if (child.pid !== undefined) setPriority(child.pid, constants.priority.PRIORITY_BELOW_NORMAL);
  } catch (error) {
    logger.debug({ err: error }, 'validation process keeps its priority');
  }
  try {
    child.send(request);
    const answer = await promise;
    if (!('failure' in answer)) return answer;
    const { code, title, message, retryable } = answer.failure;
    throw new LoradropError({ code, title, retryable }, message);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', abort);
    await child.kill();
  }
}
