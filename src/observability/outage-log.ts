import type { Logger } from './logger.ts';

/** Tells the log of something that is away, without a line for every attempt to reach it. */
export type OutageLog = {
  /** It could not be reached. `refusal` is the code with which it let nobody in, which an operator has to mend. */
  failed(error: unknown, refusal?: string): void;
  /** It was reached. */
  reached(): void;
};

/**
 * Makes an {@link OutageLog}: one line when `what` goes, one for each way in which it refuses the connection meanwhile, and
 * one when it is back, with how long it was away. All further failures are at `debug`.
 */
export function createOutageLog(options: {
  readonly logger: Logger;
  /** Its name in the lines, such as `Redis`. */
  readonly what: string;
  readonly now?: () => number;
}): OutageLog {
  const { logger, what, now = Date.now } = options;
  let outage: { readonly since: number; readonly told: Set<string> } | undefined;
  return {
    failed(error, refusal = '') {
      outage ??= { since: now(), told: new Set() };
      const { told } = outage;
      const news = told.size === 0 || (refusal !== '' && !told.has(refusal));
      told.add(refusal);
      const message =
        refusal === '' ? `${what} cannot be reached` : `${what} refuses the connection: ${refusal}`;
      logger[news ? 'warn' : 'debug']({ err: error }, message);
    },
    reached() {
      if (!outage) return;
      logger.info({ awayMs: now() - outage.since }, `${what} answers again`);
      outage = undefined;
    },
  };
}
