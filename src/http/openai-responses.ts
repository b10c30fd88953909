import { openaiErrorRef } from './chat-schemas.ts';
import type { ProblemCode } from './problem.ts';
import { problemResponses } from './problem-responses.ts';

/** The failures of a route under `/v1`, for its schema: those of any route, in OpenAI's shape. */
export function openaiResponses(...codes: readonly ProblemCode[]): Record<string, object> {
  return Object.fromEntries(
    Object.entries(problemResponses(...codes)).map(([status, response]) => [
      status,
      { ...response, content: { 'application/json': { schema: openaiErrorRef() } } },
    ]),
  );
}
