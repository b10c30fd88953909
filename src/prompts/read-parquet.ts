/**
 * Parquet → rows. Data sets on the Hub lie in this format. Everything in such a file that is a size or a count is a claim
 * of whoever wrote it, so all of them are checked before the library allocates by them.
 */
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import {
  type ColumnMetaData,
  type FileMetaData,
  parquetMetadata,
  parquetReadObjects,
  parquetSchema,
  type SchemaTree,
} from 'hyparquet';
import { parquetHeader } from 'hyparquet/src/column.js';
import { LoradropError } from '../base/errors.ts';
import { tooMany } from './check-prompts.ts';
import { promptErrors } from './errors.ts';
import { MAX_COLUMNS } from './parse-table.ts';
import type { Rows } from './rows.ts';
import { tooLarge } from './unpack.ts';
import { zstd } from './zstd.ts';

/** Deepest nesting of a column: a list of turns with lists of parts has nine levels. */
const MAX_DEPTH = 16;
/** Values of one page or column for each row, on average: dialogues have a few hundred turns at most. */
const MAX_VALUES_PER_ROW = 1000;
/** Values that may be there whatever the number of rows. */
const MIN_VALUES = 1_000_000;

const MAGIC = 'PAR1';

/** True for bytes that begin and end as Parquet files do. */
export function isParquet(bytes: Uint8Array): boolean {
  const at = (offset: number) =>
    Buffer.from(bytes.subarray(offset, offset + MAGIC.length)).toString('latin1');
  return bytes.length >= 12 && at(0) === MAGIC && at(bytes.length - MAGIC.length) === MAGIC;
}

/**
 * The rows of a Parquet file with the `wanted` top-level columns alone. Errors: `prompts-invalid`, `too-many-prompts`,
 * `prompts-too-large` where these columns unpack to more than `maxBytes`, `text-not-utf8`.
 */
export async function readParquet(
  bytes: Uint8Array,
  limits: { readonly maxPrompts: number; readonly maxBytes: number },
  wanted: (column: string) => boolean,
): Promise<Rows> {
  try {
    return await read(bytes, limits, wanted);
  } catch (cause) {
    if (cause instanceof LoradropError) throw cause;
    const code = (cause as Error).message.match(/unsupported compression codec: (\w+)/)?.[1];
    throw promptErrors.invalid(
      code
        ? `Its compression ${code} is not read; write it with zstd or snappy.`
        : 'The Parquet file is damaged.',
      { cause },
    );
  }
}

async function read(
  bytes: Uint8Array,
  limits: { readonly maxPrompts: number; readonly maxBytes: number },
  wanted: (column: string) => boolean,
): Promise<Rows> {
  if (!isParquet(bytes)) throw promptErrors.invalid('The bytes are not a Parquet file.');
  const metadata = parquetMetadata(bytes, { geoparquet: false });
  const { columns, rowCount } = checkMetadata(metadata);
  if (rowCount > limits.maxPrompts) throw tooMany(limits);
  const read = columns.filter(wanted);
  checkPages(bytes, { metadata, columns: read, rowCount, maxBytes: limits.maxBytes });
  const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer;
  const values =
    read.length === 0
      ? Array.from({ length: rowCount }, () => ({}))
      : await parquetReadObjects({
          file: buffer,
          metadata,
          columns: read,
          compressors: COMPRESSORS,
          parsers: { stringFromBytes: decodeString, jsonFromBytes: decodeString },
        });
  if (values.length !== rowCount) throw promptErrors.invalid('The Parquet file has fewer rows than it says.');
  return { rows: values.map((value, index) => ({ value, number: index + 1 })), unit: 'Row', columns };
}

/** The names of the top-level columns, and the number of rows. */
function checkMetadata(metadata: FileMetaData): { columns: string[]; rowCount: number } {
  // The library's own walk recurses by the counts in the file, and each element is used once where they are true.
  const { schema } = metadata;
  if (schema.length > MAX_COLUMNS * MAX_DEPTH) throw tooWide();
  let places = 1;
  for (const { num_children: children = 0 } of schema) {
    if (!Number.isInteger(children) || children < 0)
      throw promptErrors.invalid('The Parquet file is damaged.');
    places += children;
  }
  if (places !== schema.length) throw promptErrors.invalid('The schema of the Parquet file is damaged.');
  const tree = parquetSchema(metadata);
  if (tree.children.length > MAX_COLUMNS) throw tooWide();
  if (depthOf(tree) > MAX_DEPTH)
    throw promptErrors.invalid(`Columns are nested deeper than ${MAX_DEPTH} levels.`);
  let rowCount = 0;
  for (const { num_rows: rows } of metadata.row_groups) {
    if (rows < 0n) throw promptErrors.invalid('The Parquet file is damaged.');
    rowCount += Number(rows);
  }
  return { columns: tree.children.map(({ element }) => element.name), rowCount };
}

function tooWide() {
  return promptErrors.invalid(`A table has at most ${MAX_COLUMNS} columns.`);
}

function depthOf(tree: SchemaTree): number {
  let depth = 0;
  for (let level: readonly SchemaTree[] = [tree]; level.length > 0; depth++) {
    if (depth > MAX_DEPTH) break;
    level = level.flatMap(({ children }) => children);
  }
  return depth - 1;
}

/** The paths of the columns that hold values. */
function leavesOf(tree: SchemaTree): Set<string> {
  if (tree.children.length > 0) return new Set(tree.children.flatMap((child) => [...leavesOf(child)]));
  return new Set(tree.element.type === undefined ? [] : [tree.path.join('.')]);
}

/** Walks the headers of all pages that will be read, and refuses before anything is allocated by what they say. */
function checkPages(
  bytes: Uint8Array,
  options: { metadata: FileMetaData; columns: readonly string[]; rowCount: number; maxBytes: number },
): void {
  const { metadata, columns, rowCount, maxBytes } = options;
  const maxValues = MIN_VALUES + rowCount * MAX_VALUES_PER_ROW;
  const leaves = leavesOf(parquetSchema(metadata));
  let unpacked = 0;
  for (const group of metadata.row_groups) {
    // Chunks that belong to no column, or to one that has its own: the library would leave their failures to nobody.
    const paths = group.columns.map(({ meta_data: column }) => column?.path_in_schema.join('.') ?? '');
    if (new Set(paths).size < paths.length || paths.some((path) => !leaves.has(path)))
      throw promptErrors.invalid('The columns of the Parquet file are damaged.');
    for (const { meta_data: column, file_path: elsewhere } of group.columns) {
      if (!column || !columns.includes(column.path_in_schema[0]!)) continue;
      if (elsewhere) throw promptErrors.invalid('A column of the Parquet file lies in another file.');
      for (const page of pagesOf(bytes, column)) {
        unpacked += page.bytes;
        if (unpacked > maxBytes) throw tooLarge(maxBytes);
        if (page.values > maxValues)
          throw promptErrors.invalid('A page has more values than its rows can have.');
      }
    }
  }
}

function* pagesOf(bytes: Uint8Array, column: ColumnMetaData): Generator<{ bytes: number; values: number }> {
  const { dictionary_page_offset: dictionary, data_page_offset: data, total_compressed_size: size } = column;
  const start = Number(dictionary || data);
  const end = start + Number(size);
  if (!(start >= MAGIC.length && end >= start && end <= bytes.length))
    throw promptErrors.invalid('A column lies outside of the Parquet file.');
  const reader = { view: new DataView(bytes.buffer, bytes.byteOffset + start, end - start), offset: 0 };
  // As the library goes: it stops one byte before the end.
  while (reader.offset < reader.view.byteLength - 1) {
    const header = parquetHeader(reader);
    const { compressed_page_size: packed, uncompressed_page_size: unpacked } = header;
    if (!(packed >= 0 && unpacked >= 0 && reader.offset + packed <= reader.view.byteLength))
      throw promptErrors.invalid('A page lies outside of its column.');
    reader.offset += packed;
    const { data_page_header: v1, data_page_header_v2: v2, dictionary_page_header: values } = header;
    const counts = [v1?.num_values, v2?.num_values, v2?.num_rows, values?.num_values].map(
      (count) => count ?? 0,
    );
    if (counts.some((count) => count < 0))
      throw promptErrors.invalid('A page has a negative number of values.');
    yield { bytes: Math.max(packed, unpacked), values: Math.max(...counts) };
  }
}

type Decompress = (packed: Uint8Array, bytes: number) => Uint8Array;
/** Node's own decompression, which stops at the size that the page's header says. Snappy is in the library. */
const COMPRESSORS: Readonly<Record<string, Decompress>> = {
  GZIP: (packed, bytes) => gunzipSync(packed, { maxOutputLength: Math.max(1, bytes) }),
  BROTLI: (packed, bytes) => brotliDecompressSync(packed, { maxOutputLength: Math.max(1, bytes) }),
  ZSTD: (packed, bytes) => zstd().zstdDecompressSync(packed, { maxOutputLength: Math.max(1, bytes) }),
};

const decoder = new TextDecoder('utf-8', { fatal: true });

/** The library's own decoder would put replacement characters where bytes are no UTF-8. */
function decodeString(bytes: Uint8Array | undefined): string | undefined {
  if (bytes === undefined) return undefined;
  try {
    return decoder.decode(bytes);
  } catch (cause) {
    throw promptErrors.notUtf8('A text in the Parquet file is not UTF-8.', { cause });
  }
}
