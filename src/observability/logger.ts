/** Logging: pino, JSON lines on standard output, with the request or job id bound by whoever handles it. */
import { type Logger, pino } from 'pino';
import { errorForLog } from './log-error.ts';

export type { Logger } from 'pino';

/** Options of {@link createLogger}. */
export type LoggerOptions = {
  readonly level: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'silent';
  /** Lines for eyes instead of JSON; for terminals. */
  readonly pretty?: boolean;
};

/**
 * The process's logger. Fields that may carry credentials are removed, and
 * errors are written without what libraries attach to them. Prompt text is never passed to it, except by the
 * pipeline when the operator set `LOG_PROMPTS`.
 */
export function createLogger({ level, pretty = false }: LoggerOptions): Logger {
  return pino({
    level,
    base: { pid: process.pid },
    serializers: { err: errorForLog },
    redact: { paths: ['req.headers.authorization', 'req.headers.cookie', '*.password'], remove: true },
    ...(pretty && {
      transport: { target: 'pino-pretty', options: { ignore: 'pid', translateTime: 'HH:MM:ss.l' } },
    }),
  });
}
