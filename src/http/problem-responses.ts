/** The failures of a route, for its schema: what the OpenAPI document says of each status. */
import { PROBLEM_MEDIA_TYPE, PROBLEMS, type ProblemCode } from './problem.ts';
import { ProblemDocument, refTo } from './schemas.ts';

/** Failures that any route can have. */
const COMMON: readonly ProblemCode[] = [
  'request-invalid',
  'request-malformed',
  'url-invalid',
  'not-acceptable',
  'request-timeout',
  'misdirected-request',
  'uri-too-long',
  'headers-too-large',
  'internal',
];
/** Failures of a route that needs a key. */
export const ACCESS_FAILURES: readonly ProblemCode[] = [
  'key-missing',
  'key-invalid',
  'key-expired',
  'scope-missing',
  'rate-limit-exceeded',
];
/** Failures of a route that changes something. */
export const UNSAFE_FAILURES: readonly ProblemCode[] = [
  'cross-site-refused',
  'body-too-large',
  'media-type-unsupported',
  'json-invalid',
  'text-not-utf8',
];
/** Failures of a route that reads prompts. */
export const PROMPT_FAILURES: readonly ProblemCode[] = [
  'form-invalid',
  'prompts-empty',
  'prompts-invalid',
  'too-many-prompts',
  'one-description',
  'prompt-too-long',
  'prompts-too-large',
  'prompts-hold-answers',
  'prompt-field-ambiguous',
  'prompt-field-invalid',
];
/** Failures of a route that asks the queue. */
export const QUEUE_FAILURES: readonly ProblemCode[] = ['queue-unavailable'];

/** Response schemas by status for these codes and those that every route can have. */
export function problemResponses(...codes: readonly ProblemCode[]): Record<string, object> {
  return probeResponses('too-many-connections', ...codes);
}

/** The same for probes, which are answered however many connections there are. */
export function probeResponses(...codes: readonly ProblemCode[]): Record<string, object> {
  const byStatus = Map.groupBy(new Set([...codes, ...COMMON]), (code) => PROBLEMS[code].status);
  return Object.fromEntries(
    [...byStatus].map(([status, group]) => [
      String(status),
      {
        description: group.map((code) => `\`${code}\`: ${PROBLEMS[code].meaning}`).join('\n\n'),
        content: { [PROBLEM_MEDIA_TYPE]: { schema: refTo(ProblemDocument) } },
      },
    ]),
  );
}
