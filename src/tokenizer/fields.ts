/** Reading a `tokenizer.json`, which anyone may have written. */
import type { LoradropError } from '../base/errors.ts';
import { tokenizerErrors } from './errors.ts';

/** An object of the file. */
export type Fields = Readonly<Record<string, unknown>>;

/** Longest text of the file's that a message repeats. */
const MAX_SHOWN = 60;

/** Why the file cannot be used, as an error. Errors have one code: {@link tokenizerErrors}. */
export function refuse(reason: string, options?: ErrorOptions): LoradropError {
  return tokenizerErrors.invalid(`${reason}.`, options);
}

/** Text of the file's in a message: escaped, and short whatever its length. */
export function shown(value: unknown): string {
  const text = typeof value === 'string' ? value : typeof value;
  return JSON.stringify(text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text);
}

/** The value as an object. Errors: `tokenizer-invalid` naming what it should be. */
export function object(value: unknown, what: string): Fields {
  if (value === null || typeof value !== 'object' || Array.isArray(value))
    throw refuse(`its ${what} is no object`);
  return value as Fields;
}

/** The value as a list. */
export function list(value: unknown, what: string): readonly unknown[] {
  if (!Array.isArray(value)) throw refuse(`its ${what} is no list`);
  return value;
}

/** The value as text. */
export function text(value: unknown, what: string): string {
  if (typeof value !== 'string') throw refuse(`its ${what} is no text`);
  return value;
}

/** The value as a whole number from 0 on. */
export function count(value: unknown, what: string): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) {
    throw refuse(`its ${what} is no whole number`);
  }
  return value;
}

/** The value as true or false; `absent` where it is not there. */
export function flag(value: unknown, absent: boolean, what: string): boolean {
  if (value === undefined || value === null) return absent;
  if (typeof value !== 'boolean') throw refuse(`its ${what} is neither true nor false`);
  return value;
}

/** The `type` of an object. */
export function typeOf(fields: Fields, what: string): string {
  return text(fields['type'], `${what}'s type`);
}
