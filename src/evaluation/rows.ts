/** Labelled rows: what a model is asked, and what it should answer. Nothing here puts their text into a failure. */
import { drawWithoutReplacement, seededRandom } from '../base/random.ts';
import { evaluationErrors } from './errors.ts';

/** Largest file: a hundred times the largest data set the published generators were measured on. */
export const MAX_DATA_BYTES = 1 << 28;
/** Most rows of a file; only the first of a shuffle are scored, and ids of all of them are kept. */
export const MAX_ROWS = 1_000_000;
/** UTF-16 code units of a row's prompt, response, system message or choice: more than the contexts of the bases hold. */
export const MAX_TEXT_CHARS = 131_072;
/** Choices of a row: multiple-choice data has up to ten, and each has to be scored. */
export const MAX_CHOICES = 100;
/** Without `choices`, a file with at most this many distinct responses is taken to be a choice between them. */
export const MAX_COMMON_CHOICES = 10;
/** Most offending rows a failure lists. */
const MAX_LISTED = 20;

/** One row. */
export type Row = {
  readonly prompt: string;
  readonly response: string;
  /** What could have been answered, `response` among it, none twice; absent where that is open. */
  readonly choices?: readonly string[];
  readonly system?: string;
};

/**
 * The rows of a text, JSON lines or a JSON array: `{prompt, response, choices?, system?}`, further columns ignored. Where no
 * row has choices and the responses of all rows are 2 to {@link MAX_COMMON_CHOICES} different ones, these are the choices.
 * Errors: `evaluation-data-invalid` with the offending rows.
 */
export function parseRows(text: string): Row[] {
  const values = text.trimStart().startsWith('[') ? arrayOf(text) : [...linesOf(text)];
  if (values.length === 0) throw evaluationErrors.data('There are no rows.');
  if (values.length > MAX_ROWS) throw tooMany();
  const wrong: { pointer: string; message: string }[] = [];
  const rows: Row[] = [];
  let bad = 0;
  for (const [index, { value, place }] of values.entries()) {
    const row = readRow(value);
    if (typeof row !== 'string') rows.push(row);
    else if (++bad <= MAX_LISTED) wrong.push({ pointer: `/${index}`, message: `${place} ${row}.` });
  }
  if (bad > 0) {
    throw evaluationErrors.data(`${bad} of ${values.length} rows cannot be used.`, { fields: wrong });
  }
  return withCommonChoices(rows);
}

/** A row as it was found; `value` is undefined for a line that is not JSON. */
export type Value = { readonly value: unknown; readonly place: string };

function arrayOf(text: string): Value[] {
  let values: unknown;
  try {
    values = JSON.parse(text);
  } catch {
    throw evaluationErrors.data('The text begins like a JSON array and is not one.');
  }
  return (values as unknown[]).map((value, index) => ({ value, place: `Item ${index + 1}` }));
}

/** The lines of a text that are not blank, as JSON, one after the other. Errors: `evaluation-data-invalid` for too many. */
export function* linesOf(text: string): Generator<Value> {
  // Walks instead of splitting, so that a text of line breaks alone does not become an array of millions.
  let count = 0;
  for (let start = 0, line = 1; start < text.length; line++) {
    const found = text.indexOf('\n', start);
    const end = found === -1 ? text.length : found;
    const content = text.slice(start, end).trim();
    start = end + 1;
    if (content === '') continue;
    if (++count > MAX_ROWS) throw tooMany();
    yield { value: parsed(content), place: `Line ${line}` };
  }
}

/** Undefined for what is not JSON. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function tooMany() {
  return evaluationErrors.data(`At most ${MAX_ROWS} rows are taken at once.`);
}

/** The row, or what is wrong with it. */
function readRow(value: unknown): Row | string {
  if (value === undefined) return 'is not JSON';
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return 'is not an object';
  const { prompt, response, system, choices } = value as Readonly<Record<string, unknown>>;
  if (!isText(prompt)) return `has no usable text in "prompt"`;
  if (!isText(response)) return `has no usable text in "response"`;
  if (system !== undefined && system !== null && system !== '' && !isText(system)) {
    return `has no usable text in "system"`;
  }
  const row = { prompt, response, ...(isText(system) && { system }) };
  if (choices === undefined || choices === null) return row;
  if (!Array.isArray(choices) || !choices.every(isText)) return 'has choices that are not an array of texts';
  if (choices.length < 2 || choices.length > MAX_CHOICES) {
    return `has ${choices.length} choices; 2 to ${MAX_CHOICES} can be scored`;
  }
  if (new Set(choices).size !== choices.length) return 'has a choice twice';
  if (!choices.includes(response)) return 'has a response that is not among its choices';
  return { ...row, choices };
}

/** True for a text that can be scored. */
export function isText(value: unknown): value is string {
  return (
    typeof value === 'string' &&
    value.trim() !== '' &&
    value.length <= MAX_TEXT_CHARS &&
    value.isWellFormed() &&
    !value.includes('\0')
  );
}

/** The rows, with the responses of all of them as choices where these are few and no row has choices. */
export function withCommonChoices(rows: Row[]): Row[] {
  if (rows.some(({ choices }) => choices)) return rows;
  const choices = new Set<string>();
  for (const { response } of rows) {
    choices.add(response);
    if (choices.size > MAX_COMMON_CHOICES) return rows;
  }
  return choices.size < 2 ? rows : rows.map((row) => ({ ...row, choices: [...choices] }));
}

/** Which rows are scored, and which prompts adapters are generated from. */
export type Split = { readonly scored: Row[]; readonly prompts: string[] };

/**
 * Shuffles with the seed and scores the first `limit` rows, while enough of the others are left for the `wanted` prompts of
 * a condition: at most half of the rows are held back for that. Texts that are also scored are no prompts, except where
 * nothing else is left.
 */
export function splitRows(
  rows: readonly Row[],
  { limit, wanted, seed }: { limit: number; wanted: number; seed: number },
): Split {
  const shuffled = drawWithoutReplacement(seededRandom(seed), rows.length, rows.length).map(
    (index) => rows[index]!,
  );
  const count = Math.min(limit, Math.max(rows.length - wanted, Math.ceil(rows.length / 2)));
  const scored = shuffled.slice(0, count);
  const seen = new Set(scored.map(({ prompt }) => prompt));
  const others = shuffled.slice(count).filter(({ prompt }) => !seen.has(prompt));
  return { scored, prompts: (others.length > 0 ? others : scored).map(({ prompt }) => prompt) };
}
