import type { Logger } from './logger.ts';

/** Tells the log of something that is away, without a line for every attempt to reach it. */
export type OutageLog = {
  /** It could not be reached. `as` tells kinds of failure apart, each of which is told once in an outage. */
  failed(error: unknown, as?: string): void;
  /** It was reached. */
  reached(): void;
};

/** Most kinds of failure told in one outage; what comes after them is no news. */
const MAX_KINDS = 5;

/**
 * Makes an {@link OutageLog}: one line when `what` goes, one when it is back, with how long it was away. Failures in between
 * are at `debug`.
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
    failed(error, as = '') {
      const first = outage === undefined;
      outage ??= { since: now(), told: new Set() };
      const { told } = outage;
      const news = !told.has(as) && told.size < MAX_KINDS;
      told.add(as);
      if (first) logger.warn({ err: error }, `${what} cannot be reached; further attempts are not logged`);
      else if (news && as !== '') logger.warn({ err: error }, `${what} refuses the connection`);
      else logger.debug({ err: error }, `${what} still cannot be reached`);
    },
    reached() {
      if (!outage) return;
      logger.info({ awayMs: now() - outage.since }, `${what} answers again`);
      outage = undefined;
    },
  };
}
