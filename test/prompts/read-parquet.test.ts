import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { brotliCompressSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { parquetMetadata } from 'hyparquet';
import { parquetHeader } from 'hyparquet/src/column.js';
import { type ParquetWriteOptions, parquetWriteBuffer } from 'hyparquet-writer';
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { test } from 'tap';
import { LoradropError } from '../../src/base/errors.ts';
import { seededRandom } from '../../src/base/random.ts';
import { readParquet } from '../../src/prompts/read-parquet.ts';
import { failureOf, LIMITS, read } from './reading.ts';

type Columns = Record<string, readonly unknown[]>;

function parquet(columns: Columns, options: Partial<ParquetWriteOptions> = {}): Buffer {
  const columnData = Object.entries(columns).map(([name, data]) => ({
    name,
    data: [...data],
    ...(typeof data.find((value) => value !== null) === 'string' && { type: 'STRING' as const }),
  }));
  return Buffer.from(parquetWriteBuffer({ columnData, ...options }));
}

/** Where the only page of a file's first column begins. */
function pageOf(file: Buffer): number {
  const [column] = parquetMetadata(file, { geoparquet: false }).row_groups[0]!.columns;
  const start = Number(column!.meta_data!.data_page_offset);
  const reader = { view: new DataView(file.buffer, file.byteOffset + start), offset: 0 };
  parquetHeader(reader);
  return start + reader.offset;
}

const ALL = () => true;

test('rows of a Parquet file, whatever it is called and however it is compressed', async (t) => {
  const columns = { id: [1, 2, 3], question: ['a', 'straße', 'a'], answer: ['x', 'y', 'z'] };
  const compressors = {
    GZIP: (bytes: Uint8Array) => gzipSync(bytes),
    ZSTD: (bytes: Uint8Array) => zstdCompressSync(bytes),
    BROTLI: (bytes: Uint8Array) => brotliCompressSync(bytes),
  };
  for (const codec of ['UNCOMPRESSED', 'SNAPPY', 'GZIP', 'ZSTD', 'BROTLI'] as const) {
    const file = parquet(columns, { codec, compressors, rowGroupSize: 2 });
    const { prompts, source } = await read(file, 'parquet');
    t.strictSame(prompts, columns.question, codec);
    t.strictSame(source, { format: 'parquet', field: 'question', rows: 3, distinct: 2 });
  }
  const file = parquet(columns);
  t.strictSame((await read(file, 'jsonl')).source.format, 'parquet', 'told by its bytes');
  t.strictSame((await read(gzipSync(file), 'parquet')).prompts, columns.question);
  t.strictSame((await read(file, 'parquet', { choice: { field: 'answer' } })).prompts, ['x', 'y', 'z']);
  t.strictSame((await read(file, 'parquet', { choice: { template: '{id}: {question}' } })).prompts, [
    '1: a',
    '2: straße',
    '3: a',
  ]);
});

test('lists of turns, with parts, as PyArrow writes them', async (t) => {
  const file = await readFile(join(import.meta.dirname, 'dialogues.parquet'));
  const { prompts, source } = await read(file, 'parquet');
  t.strictSame(prompts, ['Is a pear a fruit?', 'Why is ice cold?']);
  t.equal(source.field, 'conversations');
  const chat = await read(file, 'parquet', { choice: { field: 'chat' } });
  t.strictSame(chat.prompts, ['What is this?', 'Und jetzt, Straße?']);
  t.match(chat.warnings, [/1 of 2 prompts have images/]);
});

test('what a Parquet file lacks is told by its columns', async (t) => {
  const unknown = await failureOf(read(parquet({ utterance: ['secret'], label: [1] }), 'parquet'));
  t.match(
    unknown.message,
    /^Row 1 has no column that is known to hold prompts. Its columns: `utterance`, `label`/,
  );
  const missing = await failureOf(read(parquet({ question: ['secret', null] }), 'parquet'));
  t.match(missing.message, /^Row 2 has no `question`, where the rows before it have theirs/);
  t.equal((await failureOf(read(parquet({ question: [] }), 'parquet'))).code, 'prompts-empty');
  t.equal(
    (await failureOf(read(parquet({ question: ['a'] }), 'parquet', { maxPrompts: 0 }))).code,
    'too-many-prompts',
  );
  t.equal((await failureOf(read('question', 'parquet'))).message, 'The bytes are not a Parquet file.');
  const lz4 = parquet({ question: ['a'] }, { codec: 'LZ4', compressors: { LZ4: (bytes) => bytes } });
  t.match((await failureOf(read(lz4, 'parquet'))).message, /compression LZ4 is not read; write it with zstd/);
  const broken = parquet({ question: ['abc'] }, { codec: 'UNCOMPRESSED' });
  broken[pageOf(broken) + broken.subarray(pageOf(broken)).indexOf('abc')] = 0xff;
  t.equal((await failureOf(read(broken, 'parquet'))).code, 'text-not-utf8', 'no replacement characters');
});

test('what a Parquet file claims is checked before it is believed', async (t) => {
  const bomb = parquet(
    { question: ['a'.repeat(3_000_000)] },
    { codec: 'ZSTD', compressors: { ZSTD: (bytes) => zstdCompressSync(bytes) } },
  );
  t.ok(bomb.length < 2000);
  t.equal((await failureOf(read(bomb, 'parquet'))).code, 'prompts-too-large');
  const beside = parquet({ question: ['a'], other: ['b'.repeat(3_000_000)] });
  t.strictSame(
    (await read(beside, 'parquet', { maxBytes: 200_000 })).prompts,
    ['a'],
    'columns that are not read cost nothing',
  );

  const wide = Object.fromEntries(Array.from({ length: 1025 }, (_, index) => [`c${index}`, ['a']]));
  t.match(
    (await failureOf(read(parquet(wide), 'parquet', { maxBytes: 1 << 24 }))).message,
    /at most 1024 columns/,
  );

  // A run of levels that says it goes on for 2^30 values: the library would fill its memory with them.
  const run = parquet({ question: ['aaaa', null, 'bbbb'] }, { codec: 'UNCOMPRESSED' });
  Buffer.from([0xfe, 0xff, 0xff, 0xff, 0x07, 0x01]).copy(run, pageOf(run));
  let ticks = 0;
  const timer = setInterval(() => void ticks++, 10);
  t.equal(
    (await failureOf(read(run, 'parquet'))).code,
    'prompts-too-large',
    'the process that reads is gone, this one is not',
  );
  clearInterval(timer);
  t.ok(ticks > 5, 'the event loop went on');
});

test('damaged files fail as damaged files', async (t) => {
  const golden = await readFile(join(import.meta.dirname, 'dialogues.parquet'));
  const flat = parquet({
    question: Array.from({ length: 40 }, (_, index) => `Why ${index % 7}?`),
    n: Array(40).fill(1),
  });
  const random = seededRandom(13);
  const below = (limit: number) => uniformInt(random, 0, limit - 1);
  const codes = new Map<string, number>();
  for (const good of [golden, flat]) {
    const footer = good.readUInt32LE(good.length - 8);
    for (let round = 0; round < 400; round++) {
      const bad = Buffer.from(good);
      // In the footer, where the counts and sizes are: damage of pages can fill the memory, which the process is for.
      for (let count = 1 + below(3); count > 0; count--) {
        const place = good.length - 8 - footer + below(footer);
        bad[place] = [0, 1, 0x7f, 0x80, 0xff, bad[place]! ^ (1 << below(8))][below(6)]!;
      }
      const code = await readParquet(bad, LIMITS, ALL).then(
        () => 'read',
        (error) => (error instanceof LoradropError ? error.code : `${error}`),
      );
      codes.set(code, (codes.get(code) ?? 0) + 1);
    }
  }
  for (let cut = 0; cut < golden.length; cut += 97) {
    const failure = await failureOf(readParquet(golden.subarray(0, cut), LIMITS, ALL));
    t.equal(failure.code, 'prompts-invalid');
  }
  t.ok(codes.get('prompts-invalid')! > 300, JSON.stringify([...codes]));
  for (const code of codes.keys()) {
    t.ok(
      ['read', 'prompts-invalid', 'prompts-too-large', 'too-many-prompts', 'text-not-utf8'].includes(code),
      code,
    );
  }
});
