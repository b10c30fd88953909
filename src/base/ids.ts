/** Identifiers that clients see and may choose: safe as a file name, an URL segment and a queue key. */
import { randomBytes } from 'node:crypto';

/**
 * The form of every id: 1–64 of `A–Z a–z 0–9 _ -`, not starting with `-` or `.`, not all digits (the queue reserves those).
 * No dot, slash or colon, so an id can never leave a directory or a key space.
 */
export const ID_PATTERN = '^(?![0-9]+$)[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$';

const idRegExp = new RegExp(ID_PATTERN);

/** True for a string of the form of {@link ID_PATTERN}. */
export function isId(value: string): boolean {
  return idRegExp.test(value);
}

/** A new random id with a readable prefix, 80 bits of it random: `job_0f3a…`. */
export function newId(prefix: string, random: (bytes: number) => Uint8Array = randomBytes): string {
  return `${prefix}_${Buffer.from(random(10)).toString('hex')}`;
}
