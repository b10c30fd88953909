/**
 * Reading prompts out of text: a prompt a line, JSON lines, or a JSON array. The HTTP edge and the command line read the
 * same way. Nothing here ever puts prompt text into a failure.
 */
import type { ErrorFactory, FieldError } from '../base/errors.ts';
import { promptErrors } from './errors.ts';

/** How prompts lie in a text: a prompt a line, a JSON value a line, one JSON array. */
export const PROMPT_FORMATS = ['text', 'jsonl', 'json'] as const;
/** One of {@link PROMPT_FORMATS}. */
export type PromptFormat = (typeof PROMPT_FORMATS)[number];

/** Bounds on the prompts of one request or file. */
export type PromptLimits = {
  readonly maxPrompts: number;
  /** UTF-16 code units of one prompt. */
  readonly maxPromptChars: number;
};

/** Most offending prompts a failure lists: enough to see the pattern, and an answer that stays small. */
const MAX_LISTED = 20;

const FORMAT_BY_EXTENSION: Readonly<Record<string, PromptFormat>> = {
  txt: 'text',
  jsonl: 'jsonl',
  ndjson: 'jsonl',
  json: 'json',
};

/** The format that a file's name stands for (`.txt`, `.jsonl`, `.ndjson`, `.json`), or undefined. */
export function promptFormatOf(fileName: string): PromptFormat | undefined {
  const extension = /\.([A-Za-z]+)$/.exec(fileName)?.[1]?.toLowerCase() ?? '';
  return Object.hasOwn(FORMAT_BY_EXTENSION, extension) ? FORMAT_BY_EXTENSION[extension] : undefined;
}

/** Bytes as text, a leading byte-order mark dropped. Errors: `text-not-utf8` instead of replacement characters. */
export function decodeUtf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw promptErrors.notUtf8('A byte sequence in the text is not UTF-8.', { cause });
  }
}

/**
 * The prompts of a text, checked with {@link checkPrompts}.
 *
 * - `text`: every line that is not blank, without its line ending.
 * - `jsonl`: every line that is not blank is a string or an object; `json`: an array of these. Objects are rows of a data
 *   set and may have further columns. Where the prompt is, is decided once for all rows, by the first of these that
 *   every row has (spec §1.1): `prompt`; the first turn of `conversations` (`value`); the first user turn of
 *   `messages` (`content`); `instruction`, followed by a line break and `input` where that is not empty.
 *
 * Errors: `prompts-invalid` (pointer and line of the row), and those of {@link checkPrompts}.
 */
export function parsePrompts(text: string, format: PromptFormat, limits: PromptLimits): string[] {
  const rows = format === 'json' ? rowsOfArray(text, limits) : rowsOfLines(text, format, limits);
  const values = rows.map((row) => row.value);
  const prompts = format === 'text' ? (values as string[]) : promptsOfRows(rows);
  checkPrompts(
    prompts,
    limits,
    (index) => pointerOf(rows[index]!),
    (index) => placeOf(rows[index]!),
  );
  return prompts;
}

/**
 * Checks prompts that are already strings: at least one and at most `maxPrompts`; none blank, longer than
 * `maxPromptChars`, with NUL or with half a surrogate pair (no encoder could tell such texts apart). Nothing is trimmed or
 * normalised, since every character changes the condition. Errors: `prompts-empty`, `too-many-prompts`,
 * `prompt-too-long`, `prompts-invalid`, naming up to 20 offending prompts by `pointer`.
 */
export function checkPrompts(
  prompts: readonly string[],
  limits: PromptLimits,
  pointer: (index: number) => string,
  place: (index: number) => string = (index) => `Prompt ${index + 1}`,
): void {
  if (prompts.length === 0) throw promptErrors.empty('There is no prompt.');
  if (prompts.length > limits.maxPrompts) throw tooMany(limits);
  const refuse = (make: ErrorFactory, bad: (prompt: string) => boolean, message: string) => {
    const fields: FieldError[] = [];
    let found = 0;
    for (const [index, prompt] of prompts.entries()) {
      if (!bad(prompt)) continue;
      found += 1;
      if (fields.length < MAX_LISTED)
        fields.push({ pointer: pointer(index), message: `${place(index)} ${message}.` });
    }
    if (found > 0) throw make(`${found} of ${prompts.length} prompts cannot be used.`, { fields });
  };
  const { maxPromptChars } = limits;
  refuse(promptErrors.empty, (prompt) => prompt.trim() === '', 'is blank');
  refuse(
    promptErrors.tooLong,
    ({ length }) => length > maxPromptChars,
    `has more than ${maxPromptChars} characters`,
  );
  refuse(
    promptErrors.invalid,
    (prompt) => prompt.includes('\0') || !prompt.isWellFormed(),
    'has a NUL character or half a surrogate pair',
  );
}

/** The failure for more prompts than `maxPrompts`, for callers that see it before they have strings. */
export function tooMany(limits: Pick<PromptLimits, 'maxPrompts'>) {
  return promptErrors.tooMany(`At most ${limits.maxPrompts} prompts are taken at once.`);
}

/** A row's value and where it stood: its line from 1 where there are lines, else its index from 0. */
type Row = { readonly value: unknown; readonly line?: number; readonly index: number };

const placeOf = ({ line, index }: Row) => (line === undefined ? `Item ${index + 1}` : `Line ${line}`);
/** Lines count as the items of an array, so that a JSON pointer can name one. */
const pointerOf = ({ line, index }: Row) => `/${line === undefined ? index : line - 1}`;

function invalidRow(row: Row, message: string, cause?: unknown) {
  const sentence = `${placeOf(row)} ${message}.`;
  return promptErrors.invalid(sentence, { cause, fields: [{ pointer: pointerOf(row), message: sentence }] });
}

function rowsOfLines(text: string, format: 'text' | 'jsonl', limits: PromptLimits): Row[] {
  const rows: Row[] = [];
  // Walks instead of splitting, so that a text of line breaks alone does not become an array of millions.
  for (let start = 0, line = 1; start < text.length; line++) {
    const found = text.indexOf('\n', start);
    const end = found === -1 ? text.length : found;
    const content = text.slice(start, text[end - 1] === '\r' && end > start ? end - 1 : end);
    start = end + 1;
    if (content.trim() === '') continue;
    if (rows.length === limits.maxPrompts) throw tooMany(limits);
    const row = { value: content, line, index: rows.length };
    rows.push(
      format === 'text' ? row : { ...row, value: parseJson(content, () => invalidRow(row, 'is not JSON')) },
    );
  }
  return rows;
}

function rowsOfArray(text: string, limits: PromptLimits): Row[] {
  const values = parseJson(text, () => promptErrors.invalid('The text is not JSON.'));
  if (!Array.isArray(values)) throw promptErrors.invalid('The JSON is not an array.');
  if (values.length > limits.maxPrompts) throw tooMany(limits);
  return values.map((value: unknown, index) => ({ value, index }));
}

/** The engine's own message is dropped, since it quotes the text. */
function parseJson(text: string, failure: () => Error): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw failure();
  }
}

type Fields = Readonly<Record<string, unknown>>;

/** Where a prompt may be in a row, in the order of preference; undefined where the row does not have it. */
const SHAPES: readonly { readonly name: string; readonly read: (row: Fields) => unknown }[] = [
  { name: 'prompt', read: (row) => row['prompt'] },
  { name: 'conversations', read: (row) => objectsOf(row['conversations'])[0]?.['value'] },
  {
    name: 'messages',
    read: (row) => objectsOf(row['messages']).find((turn) => turn['role'] === 'user')?.['content'],
  },
  {
    name: 'instruction',
    read: ({ instruction, input }) =>
      typeof instruction === 'string' && typeof input === 'string' && input !== ''
        ? `${instruction}\n${input}`
        : instruction,
  },
];

function isFields(value: unknown): value is Fields {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}

function objectsOf(value: unknown): readonly Fields[] {
  return Array.isArray(value) && value.every(isFields) ? value : [];
}

function promptsOfRows(rows: readonly Row[]): string[] {
  const fields = rows.map((row): Fields => {
    if (typeof row.value === 'string') return { prompt: row.value };
    if (isFields(row.value)) return row.value;
    throw invalidRow(row, 'is neither a string nor an object');
  });
  const names = SHAPES.map(({ name }) => `\`${name}\``).join(', ');
  let furthest = -1;
  for (const { read } of SHAPES) {
    const prompts = fields.map(read);
    const missing = prompts.findIndex((prompt) => typeof prompt !== 'string');
    if (missing === -1) return prompts as string[];
    furthest = Math.max(furthest, missing);
  }
  throw invalidRow(rows[furthest]!, `has no text where the rows before it have theirs (one of ${names})`);
}
