/**
 * The shape of every failure Loradrop raises on purpose. Each room declares its own codes with {@link defineErrors};
 * `http/problem.ts` is the single place that turns a code into a status.
 */

/** What a room declares about one kind of failure. */
export type ErrorSpec = {
  /** Stable, kebab-case and unique in the whole code base: clients branch on it, so it never changes meaning. */
  readonly code: string;
  /** One short sentence without details of the occurrence (RFC 9457 `title`). */
  readonly title: string;
  /** True when the same call may succeed later without being changed: the queue retries such a job. */
  readonly retryable: boolean;
};

/** One offending field of a refused request: a JSON pointer into the input, and what is wrong there. */
export type FieldError = { readonly pointer: string; readonly message: string };

/** What a throw site may add to its code. */
export type ErrorContext = {
  readonly cause?: unknown;
  /** The offending fields, for failures of validation. */
  readonly fields?: readonly FieldError[];
  /** Seconds after which trying again makes sense (becomes `Retry-After`). */
  readonly retryAfterSeconds?: number;
};

/** A failure with a stable code. `message` is safe to show to a client: no paths, no stack, no prompt text. */
export class LoradropError extends Error {
  override readonly name = 'LoradropError';
  readonly code: string;
  readonly title: string;
  readonly retryable: boolean;
  readonly fields: readonly FieldError[];
  readonly retryAfterSeconds: number | undefined;

  constructor(spec: ErrorSpec, detail: string, context: ErrorContext = {}) {
    super(detail, context.cause === undefined ? undefined : { cause: context.cause });
    this.code = spec.code;
    this.title = spec.title;
    this.retryable = spec.retryable;
    this.fields = context.fields ?? [];
    this.retryAfterSeconds = context.retryAfterSeconds;
  }
}

/** A throw site's view of a declared failure: call it with the sentence that tells what happened this time. */
export type ErrorFactory = ((detail: string, context?: ErrorContext) => LoradropError) & {
  readonly spec: ErrorSpec;
};

/**
 * Turns a table of declared failures into one factory each.
 * @example
 * export const storeErrors = defineErrors({ full: { code: 'store-full', title: 'The store is full.', retryable: true } });
 * throw storeErrors.full('12 MB wanted, 3 MB left');
 */
export function defineErrors<T extends Record<string, ErrorSpec>>(
  specs: T,
): { readonly [K in keyof T]: ErrorFactory } {
  const factories = Object.entries(specs).map(([key, spec]) => {
    const make = (detail: string, context?: ErrorContext) => new LoradropError(spec, detail, context);
    return [key, Object.assign(make, { spec })] as const;
  });
  return Object.fromEntries(factories) as { [K in keyof T]: ErrorFactory };
}

/** Failures that belong to no single room. */
export const baseErrors = defineErrors({
  internal: { code: 'internal', title: 'Something failed inside the service.', retryable: true },
  canceled: { code: 'canceled', title: 'The work was canceled.', retryable: false },
});

/**
 * Any thrown value as a {@link LoradropError}: ours as it is, everything else as `internal` with the original as cause.
 * The detail of a foreign error is not shown to clients, since it may hold paths or user text; logs have the cause.
 */
export function toLoradropError(error: unknown): LoradropError {
  if (error instanceof LoradropError) return error;
  return baseErrors.internal('An unexpected failure; the log has it under the request or job id.', {
    cause: error,
  });
}
