import { withoutLogins } from '../base/crash-text.ts';

/** Properties of errors that the log keeps: what the system and libraries say of a failure, and never what they were given. */
const KEPT = ['code', 'errno', 'syscall', 'address', 'port', 'signal', 'exitCode'] as const;
/** Errors below errors that are written; deeper ones say nothing new. */
const MAX_DEPTH = 5;

/** An error as the log has it. */
export type LoggedError = {
  readonly type: string;
  readonly message: string;
  readonly stack?: string;
  readonly cause?: LoggedError;
  readonly errors?: readonly LoggedError[];
} & { readonly [K in (typeof KEPT)[number]]?: string | number };

/**
 * An error for the log. Pino's own form takes over every property of it, and libraries attach what they were doing: ioredis
 * the command that failed, which for a wrong login is `AUTH` with the password.
 */
export function errorForLog(error: unknown, depth = 0): LoggedError {
  if (!(error instanceof Error)) return { type: typeof error, message: withoutLogins(String(error)) };
  const next = (inner: unknown) => errorForLog(inner, depth + 1);
  const isDeep = depth >= MAX_DEPTH;
  return {
    type: error.constructor.name,
    message: withoutLogins(error.message),
    ...(error.stack !== undefined && { stack: withoutLogins(error.stack) }),
    ...Object.fromEntries(
      KEPT.flatMap((name) => {
        const value: unknown = (error as unknown as Record<string, unknown>)[name];
        return typeof value === 'string' || typeof value === 'number' ? [[name, value]] : [];
      }),
    ),
    ...(error.cause !== undefined && !isDeep && { cause: next(error.cause) }),
    ...(error instanceof AggregateError && !isDeep && { errors: error.errors.map(next) }),
  };
}
