/** Failures as clients of a Hub read them: they branch on a header, and show another one to people. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { LoradropError } from '../base/errors.ts';
import { sendProblem } from './plugins/problems.ts';

/** Our codes → the Hub's. A Hub hides what it has from those without a key in the same way as what it does not have. */
const CODES: Readonly<Record<string, string>> = {
  'key-missing': 'RepoNotFound',
  'repository-not-found': 'RepoNotFound',
  'revision-not-found': 'RevisionNotFound',
  'entry-not-found': 'EntryNotFound',
  // Deleted between two requests of one download.
  'adapter-not-found': 'RepoNotFound',
};

/** What clients compare with to tell a wrong key from a missing repository. */
const WRONG_KEY = 'Invalid credentials in Authorization header';

/** Answers with the problem of whatever was thrown, and with the headers that clients of a Hub look at. */
export function sendHubProblem(error: unknown, request: FastifyRequest, reply: FastifyReply): void {
  if (error instanceof LoradropError) {
    const code = CODES[error.code];
    const wrongKey = error.code === 'key-invalid' || error.code === 'key-expired';
    if (code !== undefined) reply.header('x-error-code', code);
    reply.header('x-error-message', wrongKey ? WRONG_KEY : inAscii(`${error.title} ${error.message}`));
  }
  sendProblem(error, request, reply);
}

/** Header values have no other characters than these; our texts have typographic quotes. */
function inAscii(text: string): string {
  return text
    .replace(/[‘’]/g, "'")
    .replace(/[“”]/g, '"')
    .replace(/[^\x20-\x7e]/g, '?');
}
