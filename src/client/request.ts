/** Requests that are sent again where that is safe and worth it. */
import { ProblemError, UnreachableError } from './errors.ts';
import type { OpenaiError, Problem } from './types.ts';

/** HTTP statuses worth retrying: overload, and what stands between client and service. */
const RETRIED_STATUSES: readonly number[] = [408, 425, 429, 502, 503, 504];
/** Wait before the first retry; it doubles. */
const FIRST_WAIT_MS = 500;
const MAX_WAIT_MS = 30_000;

/** How a client connects. */
export type Connection = {
  /** The service's address; it may end in a path, behind a gateway. */
  readonly url: string;
  readonly key: string | undefined;
  readonly fetch: typeof globalThis.fetch;
  /** Attempts after the first. */
  readonly retries: number;
  /** Longest `Retry-After` that is waited for; a longer one ends the attempts. */
  readonly maxRetryAfterSeconds: number;
};

/** What a request can send, and send again. */
export type RequestBody = string | Blob | FormData | Uint8Array<ArrayBuffer>;

/** One request. */
export type RequestOptions = {
  readonly method?: 'GET' | 'POST' | 'PUT' | 'DELETE';
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: RequestBody;
  /** False for a request that must not be sent twice. */
  readonly repeatable?: boolean;
  readonly signal?: AbortSignal | undefined;
};

/** A request whose answer is JSON. One that breaks off in its middle is asked for again. Errors: as {@link request}. */
export async function requestJson<T>(
  connection: Connection,
  path: string,
  options: RequestOptions = {},
): Promise<T> {
  return attempt(connection, path, options, async (response) => (await response.json()) as T);
}

/**
 * Sends a request and answers a response whose status is 2xx. Overload and broken connections are tried again, with
 * `Retry-After` or growing waits between. Errors: {@link ProblemError}, {@link UnreachableError}, the signal's reason.
 */
export function request(
  connection: Connection,
  path: string,
  options: RequestOptions = {},
): Promise<Response> {
  return attempt(connection, path, options, async (response) => response);
}

async function attempt<T>(
  connection: Connection,
  path: string,
  options: RequestOptions,
  read: (response: Response) => Promise<T>,
): Promise<T> {
  const { method = 'GET', headers, body, signal, repeatable = true } = options;
  const url = addressOf(connection.url, path, options.query);
  const { key, retries, maxRetryAfterSeconds } = connection;
  for (let attempts = 0; ; attempts++) {
    signal?.throwIfAborted();
    const isLast = attempts >= retries || !repeatable;
    let waitMs = Math.min(MAX_WAIT_MS, FIRST_WAIT_MS * 2 ** attempts) * (0.5 + Math.random() / 2);
    try {
      const response = await connection.fetch(url, {
        method,
        headers: { ...headers, ...(key !== undefined && { authorization: `Bearer ${key}` }) },
        ...(body !== undefined && { body }),
        ...(signal && { signal }),
        // A key must not follow to another address.
        redirect: 'error',
      });
      if (response.ok) return await read(response);
      const problem = await problemOf(response);
      if (isLast || !RETRIED_STATUSES.includes(response.status)) throw problem;
      if (problem.retryAfterSeconds !== undefined) {
        if (problem.retryAfterSeconds > maxRetryAfterSeconds) throw problem;
        waitMs = Math.max(waitMs, problem.retryAfterSeconds * 1000);
      }
    } catch (cause) {
      if (cause instanceof ProblemError) throw cause;
      signal?.throwIfAborted();
      if (isLast) throw new UnreachableError(`${new URL(url).origin} cannot be reached.`, { cause });
    }
    await wait(waitMs, signal);
  }
}

/** The address of a path below the service's own. */
export function addressOf(base: string, path: string, query: RequestOptions['query'] = {}): string {
  const url = new URL(`${base.replace(/\/+$/, '')}${path}`);
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined) url.searchParams.set(name, String(value));
  }
  return url.href;
}

async function problemOf(response: Response): Promise<ProblemError> {
  const type = response.headers.get('content-type') ?? '';
  const isJson = /^application\/(problem\+)?json/.test(type);
  const body: unknown = isJson ? await response.json().catch(() => undefined) : undefined;
  if (!isJson) await response.body?.cancel().catch(() => {});
  const problem = type.startsWith('application/problem') ? (body as Problem) : problemOfOpenai(body);
  return new ProblemError(response.status, problem, retryAfter(response.headers.get('retry-after')));
}

/** A failure under `/v1`, which has OpenAI's shape. */
function problemOfOpenai(body: unknown): Pick<Problem, 'title' | 'code'> | undefined {
  const { error } = (body ?? {}) as Partial<OpenaiError>;
  return error && { title: error.message, code: error.code };
}

/** `Retry-After` in seconds: it may be a number or a date (RFC 9110 §10.2.3). */
function retryAfter(header: string | null): number | undefined {
  if (header === null) return undefined;
  if (/^\d+$/.test(header)) return Number(header);
  const at = Date.parse(header);
  return Number.isNaN(at) ? undefined : Math.max(0, Math.ceil((at - Date.now()) / 1000));
}

/** Waits, or rejects with the signal's reason. */
export function wait(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = () => {
      clearTimeout(timer);
      reject(signal!.reason as Error);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    }, ms);
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}
