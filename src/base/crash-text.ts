/** Errors and addresses as text that may be printed: without the credentials that libraries and settings put into them. */

/** The login of an address, `//user:password@`: up to the last `@` before a slash or a space. */
const LOGIN = /\/\/[^\s/]*@/g;
/** Errors below errors that are shown; deeper ones say nothing new. */
const MAX_DEPTH = 5;

/** A text with the login of every address in it replaced: `redis://(secret)@host`. */
export function withoutLogins(text: string): string {
  return text.replace(LOGIN, '//(secret)@');
}

/**
 * Any thrown value as text: its stack, and those of its causes. Nothing else of it is shown, since libraries attach what
 * they were doing, such as a Redis `AUTH` command with the password.
 */
export function crashText(thrown: unknown, depth = 0): string {
  if (!(thrown instanceof Error)) return withoutLogins(String(thrown));
  const inner = [thrown.cause, ...(thrown instanceof AggregateError ? thrown.errors : [])].filter(
    (error) => error !== undefined,
  );
  const lines = [withoutLogins(thrown.stack ?? thrown.message)];
  if (depth < MAX_DEPTH) lines.push(...inner.map((error) => `caused by ${crashText(error, depth + 1)}`));
  return lines.join('\n');
}
