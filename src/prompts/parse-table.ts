/** CSV and TSV → rows. The first record names the columns. */
import { CsvError, type Options, parse } from 'csv-parse/sync';
import { tooMany } from './check-prompts.ts';
import { promptErrors } from './errors.ts';
import type { Row, Rows } from './rows.ts';

/** Most columns of a table: the widest public data sets of text have a few dozen. */
export const MAX_COLUMNS = 1024;

/** What a failure of the parser means, as words after the place. Its own messages quote the text. */
const MEANINGS: Readonly<Record<string, string>> = {
  CSV_QUOTE_NOT_CLOSED: 'a quotation mark is opened and not closed',
  CSV_INVALID_CLOSING_QUOTE:
    'text follows a closing quotation mark; write a quotation mark within a field twice',
  INVALID_OPENING_QUOTE: 'a quotation mark stands within a field that does not begin with one',
  CSV_RECORD_INCONSISTENT_FIELDS_LENGTH: 'there are more or fewer columns than the first line names',
  CSV_MAX_RECORD_SIZE: 'a row is longer than is taken',
};

/**
 * The records of a table as rows by column name. Fields may be quoted as RFC 4180 says; lines that are empty are skipped.
 * Columns are separated by tabs in `tsv`, else by commas, or by semicolons where the first line has them and no comma.
 * Rows have the `wanted` columns alone. Errors: `prompts-invalid` with the line, `too-many-prompts`.
 */
export function parseTable(
  text: string,
  format: 'csv' | 'tsv',
  limits: { readonly maxPrompts: number; readonly maxBytes: number },
  wanted: (column: string) => boolean,
): Rows {
  let columns: readonly string[] | undefined;
  let kept: readonly number[] = [];
  const readHeader = (names: readonly string[]) => {
    if (names.length > MAX_COLUMNS) throw promptErrors.invalid(`A table has at most ${MAX_COLUMNS} columns.`);
    columns = names.map((name) => name.trim());
    // Tables that were written with their index have one column, or more, without a name.
    const named = columns.filter((name) => name !== '');
    if (new Set(named).size < named.length) throw promptErrors.invalid('Two columns have the same name.');
    kept = [...columns.keys()].filter((place) => wanted(columns![place]!));
  };
  const rows: Row[] = [];
  readRecords(text, {
    delimiter: format === 'tsv' ? '\t' : delimiterOf(text),
    skip_empty_lines: true,
    max_record_size: limits.maxBytes,
    // Kept here as they come, so that columns that are not wanted are gone at once.
    on_record: (fields) => {
      if (!columns) readHeader(fields);
      else if (rows.length === limits.maxPrompts) throw tooMany(limits);
      else {
        const value = Object.fromEntries(kept.map((place) => [columns![place], fields[place]]));
        rows.push({ value, number: rows.length + 1 });
      }
      return null;
    },
  });
  return { rows, unit: 'Row', columns: (columns ?? []).filter((name) => name !== '') };
}

function readRecords(text: string, options: Options): void {
  try {
    parse(text, options);
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    const { code, lines } = error as CsvError & { lines?: number };
    const meaning = MEANINGS[code] ?? 'the table cannot be read there';
    throw promptErrors.invalid(`${lines === undefined ? '' : `Near line ${lines}: `}${meaning}.`, {
      ...(lines !== undefined && { fields: [{ pointer: `/${lines - 1}`, message: `${meaning}.` }] }),
    });
  }
}

function delimiterOf(text: string): string {
  const header = /^[^\r\n]*/.exec(text)![0];
  return !header.includes(',') && header.includes(';') ? ';' : ',';
}
