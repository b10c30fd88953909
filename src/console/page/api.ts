/** The public API, by the client that programs use. The key is kept for this tab's session and nowhere else. */
import { ProblemError } from '../../client/errors.ts';
import { type Connection, type RequestOptions, request, requestJson } from '../../client/request.ts';

const KEY = 'loradrop-key';

/** The key that requests come with; '' for none. */
export function apiKey(): string {
  return sessionStorage.getItem(KEY) ?? '';
}

/** Keeps the key until the tab is closed. */
export function setApiKey(key: string): void {
  if (key === '') sessionStorage.removeItem(KEY);
  else sessionStorage.setItem(KEY, key);
}

/** The service that the page came from. A connection that is lost, or a place that is taken, is asked for again. */
export const connection = (): Connection => ({
  url: location.origin,
  key: apiKey() || undefined,
  fetch: (input, init) => fetch(input, init),
  retries: 4,
  maxRetryAfterSeconds: 60,
});

/** Sends a request. Errors: those of the client's `request`. */
export function send(path: string, options: RequestOptions = {}): Promise<Response> {
  return request(connection(), path, options);
}

/** Sends a request and reads its JSON. */
export function get<T>(path: string, options: RequestOptions = {}): Promise<T> {
  return requestJson<T>(connection(), path, options);
}

/** A failure as one or more sentences for people. */
export function failureText(error: unknown): string {
  if (!(error instanceof ProblemError)) return 'The service does not answer. Is it running?';
  const fields = (error.problem?.errors ?? []).map(({ pointer, message }) => `${pointer} ${message}`);
  return [error.message, ...fields].join(' ');
}
