/** Text → rows: a prompt a line, JSON lines, JSON. Nothing here puts prompt text into a failure. */
import { tooMany } from './check-prompts.ts';
import { KNOWN_COLUMNS } from './choose-column.ts';
import { promptErrors } from './errors.ts';
import { type Fields, invalidRow, isFields, type Row, type Rows, shownColumns } from './rows.ts';

type MaxPrompts = { readonly maxPrompts: number };

/** Every line that is not blank, without its line ending: `\n`, `\r\n`, or `\r` alone. Errors: `too-many-prompts`. */
export function parseLines(text: string, limits: MaxPrompts): Rows {
  const rows: Row[] = [];
  // Walks instead of splitting, so that a text of line breaks alone does not become an array of millions.
  for (let start = 0, number = 1; start < text.length; number++) {
    const end = endOfLine(text, start);
    const value = text.slice(start, end);
    start = end + (text[end] === '\r' && text[end + 1] === '\n' ? 2 : 1);
    if (value.trim() === '') continue;
    if (rows.length === limits.maxPrompts) throw tooMany(limits);
    rows.push({ value, number });
  }
  return { rows, unit: 'Line' };
}

const LINE_END = /[\r\n]/g;

function endOfLine(text: string, start: number): number {
  LINE_END.lastIndex = start;
  return LINE_END.exec(text)?.index ?? text.length;
}

/** Every line that is not blank as JSON; a text that is a JSON array, over one line or several, as {@link parseArray} reads it. */
export function parseJsonLines(text: string, limits: MaxPrompts): Rows {
  if (/^\s*\[/.test(text) && !looksLikeLines(text)) return parseArray(text, limits);
  const lines = parseLines(text, limits);
  const rows = lines.rows.map((row) => ({
    ...row,
    value: parseJson(row.value as string, () => invalidRow(lines, row, 'is not JSON')),
  }));
  return { ...lines, rows };
}

/**
 * The items of a JSON array; also of the only array in an object around it (`{"data": […]}`), of an answer of the Hub's
 * `/rows`, of one row alone, and of JSON lines under the name of JSON. Errors: `prompts-invalid`, `too-many-prompts`.
 */
export function parseArray(text: string, limits: MaxPrompts): Rows {
  const failure = () => promptErrors.invalid('The text is not JSON.');
  let value: unknown;
  try {
    value = parseJson(text, failure);
  } catch (error) {
    if (!looksLikeLines(text)) throw error;
    return parseJsonLines(text, limits);
  }
  const values = Array.isArray(value) ? value : itemsOf(value);
  if (values.length > limits.maxPrompts) throw tooMany(limits);
  return { rows: values.map((item: unknown, index) => ({ value: item, number: index + 1 })), unit: 'Item' };
}

/** The engine's own message is dropped, since it quotes the text. */
function parseJson(text: string, failure: () => Error): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw failure();
  }
}

/** Longest first line that is tried: rows of data sets are shorter, and a text without line breaks is not. */
const MAX_FIRST_LINE = 1 << 20;

/** True where the first line is a row by itself and is not the only one. */
function looksLikeLines(text: string): boolean {
  const start = text.search(/\S/);
  const end = start === -1 ? 0 : endOfLine(text, start);
  if (end - start > MAX_FIRST_LINE || text.slice(end).trim() === '') return false;
  try {
    const value: unknown = JSON.parse(text.slice(start, end));
    return isFields(value) || Array.isArray(value);
  } catch {
    return false;
  }
}

/** Names under which a list of texts is prompts; a list of anything else than objects is otherwise a row's own. */
const LISTS_OF_TEXTS: ReadonlySet<string> = new Set([
  'prompts',
  'data',
  'rows',
  'items',
  'examples',
  'questions',
]);

/** The items of the only list of rows in an object; the object itself where it is a row. */
function itemsOf(value: unknown): readonly unknown[] {
  if (!isFields(value)) throw promptErrors.invalid('The JSON is neither an array nor an object.');
  // What the Hub's interface answers has descriptions of the columns beside the rows.
  const { rows } = value;
  if (Array.isArray(rows) && rows.length > 0 && rows.every(isRowOfHub)) return rows.map(({ row }) => row);
  if (KNOWN_COLUMNS.some((name) => Array.isArray(value[name]))) return [value];
  const isRow = KNOWN_COLUMNS.some((name) => typeof value[name] === 'string');
  const lists = Object.keys(value).filter((name) => isListOfRows(value[name], name));
  if (lists.length === 0) return [value];
  if (!isRow && lists.length === 1) return value[lists[0]!] as unknown[];
  throw promptErrors.invalid(
    `The JSON is an object in which more than one of these can be the prompts: ${shownColumns(Object.keys(value))}. Send the array alone.`,
  );
}

function isListOfRows(value: unknown, name: string): boolean {
  if (!Array.isArray(value)) return false;
  const all = (test: (item: unknown) => boolean) => value.every(test);
  return (
    all(isFields) || (LISTS_OF_TEXTS.has(name) && all((item) => typeof item === 'string' || isFields(item)))
  );
}

function isRowOfHub(item: unknown): item is { row: Fields } {
  return isFields(item) && 'row_idx' in item && isFields(item['row']);
}
