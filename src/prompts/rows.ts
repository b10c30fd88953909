/** Rows of prompts, whatever format they were in, and how failures name them. */
import { promptErrors } from './errors.ts';

/** A row: a string or an object where it is one that can be used. */
export type Row = {
  readonly value: unknown;
  /** From 1: its line where `unit` is `Line`, else its number. */
  readonly number: number;
};

/** All rows of a file or body. */
export type Rows = {
  readonly rows: readonly Row[];
  /** What a row is called in failures. */
  readonly unit: 'Line' | 'Item' | 'Row';
  /** What stands before a row's place in a JSON pointer: `/prompts` in a request's body, else nothing. */
  readonly prefix?: string;
  /** The columns of all rows, also those that were not read. Absent where each row has its own. */
  readonly columns?: readonly string[];
};

/** An object's fields. */
export type Fields = Readonly<Record<string, unknown>>;

/** True for an object that is no array. */
export function isFields(value: unknown): value is Fields {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}

/** A row by its place, as in `Line 3`. */
export function placeOf({ unit }: Rows, { number }: Row): string {
  return `${unit} ${number}`;
}

/** A row as a JSON pointer. Lines count as the items of an array, so that a pointer can name one. */
export function pointerOf({ prefix = '' }: Rows, { number }: Row): string {
  return `${prefix}/${number - 1}`;
}

/** The failure for one row; `message` goes on after its place. */
export function invalidRow(rows: Rows, row: Row, message: string) {
  const sentence = `${placeOf(rows, row)} ${message}.`;
  return promptErrors.invalid(sentence, {
    fields: [{ pointer: pointerOf(rows, row), message: sentence }],
  });
}

/** Most column names a message lists. */
const MAX_SHOWN = 12;
/**
 * A name that is shown: letters and digits, up to three words. What is longer or has other signs may be text in a name's
 * place, as in a CSV file without a header, and text is never shown.
 */
const SHOWN_NAME = /^(?=.{1,32}$)[\p{L}\p{N}_.\-/]+( [\p{L}\p{N}_.\-/]+){0,2}$/u;

/** Column names for a message, bounded in number and length: `` `a`, `b` and 3 others ``. */
export function shownColumns(names: readonly string[]): string {
  if (names.length === 0) return 'none';
  const shown = names.filter((name) => SHOWN_NAME.test(name)).slice(0, MAX_SHOWN);
  const others = names.length - shown.length;
  if (shown.length === 0) return `${others} that cannot be shown`;
  const listed = shown.map((name) => `\`${name}\``).join(', ');
  return others === 0 ? listed : `${listed} and ${others} more`;
}

/** The column names of a row, or of all rows where they share them. */
export function columnsOf({ columns }: Rows, { value }: Row): readonly string[] {
  return columns ?? (isFields(value) ? Object.keys(value) : []);
}

/** What a value is, for messages: `a number`, `a list`, `null`. */
export function kindOf(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'null';
  if (typeof value === 'string') return 'text';
  if (typeof value === 'boolean') return 'a boolean';
  if (typeof value === 'number' || typeof value === 'bigint') return 'a number';
  return Array.isArray(value) ? 'a list' : 'an object';
}
