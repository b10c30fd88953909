/** Failures in the shape that clients of OpenAI's API read, for all addresses under `/v1/`. */
import type { Problem } from './problem.ts';

/** What an OpenAI client is told of a failure. */
export type OpenaiError = {
  readonly error: {
    readonly message: string;
    /** OpenAI's own classes of failures. */
    readonly type: string;
    /** The field that is at fault, as `messages/0/content`. */
    readonly param: string | null;
    /** The code of the problem, which `GET /problems/{code}` explains. */
    readonly code: string;
  };
};

/** True for addresses whose failures have OpenAI's shape. The request's id is in `X-Request-Id` as everywhere. */
export function isOpenaiAddress(url: string): boolean {
  return url.startsWith('/v1/');
}

const TYPES: Readonly<Record<number, string>> = {
  401: 'authentication_error',
  403: 'permission_error',
  429: 'rate_limit_error',
};

/** A problem in OpenAI's shape. */
export function openaiError({ status, title, detail, code, errors }: Problem): OpenaiError {
  const [first] = errors ?? [];
  const field = first && `${first.pointer.slice(1) || 'body'} ${first.message}.`;
  return {
    error: {
      message: [title, detail, field].filter(Boolean).join(' '),
      type: TYPES[status] ?? (status >= 500 ? 'server_error' : 'invalid_request_error'),
      param: first ? first.pointer.slice(1) : null,
      code,
    },
  };
}
