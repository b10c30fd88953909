/**
 * Traces as the rest of the code sees them: spans, and places in a trace as text. Nothing of OpenTelemetry is loaded by this
 * file; open-tracing.ts implements it, and is loaded only where the settings name a collector. Without one there are no
 * spans at all, so every use is `span?.…`.
 */
import { LoradropError } from '../base/errors.ts';

/** A place in a trace as W3C Trace Context writes it: what is sent to others and kept with jobs. */
export type TraceContext = { readonly traceparent: string; readonly tracestate?: string };

/** What a span says of its work. Never prompt text, addresses with secrets, or anything a client has not yet been shown. */
export type SpanAttributes = Readonly<Record<string, string | number | boolean>>;

/** Options of a new span. */
export type SpanOptions = {
  readonly kind?: 'server' | 'client' | 'producer' | 'consumer' | 'internal';
  readonly attributes?: SpanAttributes;
  /** Other spans that this one has to do with, in this trace or another. */
  readonly links?: readonly TraceContext[];
  /** Milliseconds since the epoch; absent: now. */
  readonly startedAt?: number;
};

/** A piece of work with a beginning and an end. */
export type Span = {
  /** The place of this span, for those who go on with the trace. */
  readonly context: TraceContext;
  /** Starts a span for a part of the work. */
  child(name: string, options?: SpanOptions): Span;
  set(attributes: SpanAttributes): void;
  /** The work has failed: with this code, that of a failure of ours, or the error's type. */
  fail(error: unknown): void;
  /** Ends the span, at `at` in milliseconds since the epoch or now. Later calls do nothing. */
  end(at?: number): void;
};

/** Where spans are made. */
export type Tracing = {
  /** Starts a span below `parent`, which may be another process's; without one it begins a trace. */
  start(name: string, options?: SpanOptions & { readonly parent?: TraceContext | undefined }): Span;
  /** Sends what is left, and ends. */
  close(): Promise<void>;
};

/** The 32 hex digits by which a trace is found, for logs. */
export function traceIdOf(context: TraceContext): string {
  return context.traceparent.split('-')[1] ?? '';
}

/** Whether the trace is kept; one that is not goes on all the same, so that others decide alike. */
export function isSampled({ traceparent }: TraceContext): boolean {
  return (Number.parseInt(traceparent.split('-')[3] ?? '', 16) & 1) === 1;
}

/** What a span says of a failure, by the convention `error.type`. */
export function errorTypeOf(error: unknown): string {
  if (typeof error === 'string') return error;
  if (error instanceof LoradropError) return error.code;
  return error instanceof Error ? error.name : 'unknown';
}

/** Does `work` under a span below `parent`; without a parent it is done all the same. */
export async function inSpan<T>(
  parent: Span | undefined,
  name: string,
  work: (span: Span | undefined) => Promise<T>,
  options?: SpanOptions,
): Promise<T> {
  const span = parent?.child(name, options);
  try {
    return await work(span);
  } catch (error) {
    span?.fail(error);
    throw error;
  } finally {
    span?.end();
  }
}
