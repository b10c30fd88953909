import { gzipSync, zstdCompressSync } from 'node:zlib';
import { test } from 'tap';
import { checkPrompts } from '../../src/prompts/check-prompts.ts';
import { decodeText, decodeUtf8 } from '../../src/prompts/decode-text.ts';
import { promptFormatOf } from '../../src/prompts/prompt-format.ts';
import { MAX_BYTES_INLINE } from '../../src/prompts/read-prompts.ts';
import { failureOf, LIMITS, lines, read } from './reading.ts';

const promptsOf = async (...request: Parameters<typeof read>) => (await read(...request)).prompts;

test('text is a prompt a line, blank lines skipped and line endings dropped', async (t) => {
  t.strictSame(await promptsOf('one\r\n\n  two \n\t\nthree', 'text'), ['one', '  two ', 'three']);
  t.strictSame(await promptsOf('one\n', 'text'), ['one']);
  t.strictSame(await promptsOf('one\rtwo\r\rthree\r', 'text'), ['one', 'two', 'three'], 'old Macintosh');
  t.strictSame(await promptsOf('one\n\rtwo\r\n', 'text'), ['one', 'two']);
  t.strictSame(await promptsOf('{"prompt":"a"}\r{"prompt":"b"}\r', 'jsonl'), ['a', 'b']);
});

test('JSON is an array, an array in an object, a row, or lines under its name', async (t) => {
  t.strictSame(await promptsOf('["a", {"prompt": "b"}]', 'json'), ['a', 'b']);
  t.strictSame(await promptsOf('{"version": 1, "data": [{"question": "a"}]}', 'json'), ['a']);
  t.strictSame(await promptsOf('{"prompts": ["a", "b"], "seed": 3}', 'json'), ['a', 'b']);
  t.strictSame(
    await promptsOf(
      '{"features": [{"name": "q"}], "rows": [{"row_idx": 0, "row": {"question": "a"}}]}',
      'json',
    ),
    ['a'],
    'as the Hub’s interface answers',
  );
  t.strictSame(await promptsOf('{"prompt": "a"}', 'json'), ['a']);
  t.strictSame(await promptsOf('{"messages": [{"role": "user", "content": "a"}], "tools": []}', 'json'), [
    'a',
  ]);
  t.strictSame(await promptsOf(lines({ question: 'a' }, { question: 'b' }), 'json'), ['a', 'b']);
  t.strictSame(await promptsOf(' \n[\n"a"\n]', 'jsonl'), ['a'], 'an array under the name of lines');
  t.strictSame(
    await promptsOf('[{"role":"user","content":"a"}]\n[{"role":"user","content":"b"}]', 'jsonl'),
    ['a', 'b'],
    'a dialogue a line',
  );
  for (const [text, message] of [
    ['{"train": [{"question": "secret"}], "test": [{"question": "b"}]}', /`train`, `test`/],
    ['{"text": "about", "data": [{"question": "secret"}]}', /`text`, `data`/],
    ['"secret"', /neither an array nor an object/],
    ['{secret', /not JSON/],
    ['{"secret": 1}\n{"a', /Line 2 is not JSON/],
  ] as const) {
    const failure = await failureOf(read(text, 'json'));
    t.equal(failure.code, 'prompts-invalid', text);
    t.match(failure.message, message);
  }
  const choices = await failureOf(read('{"id": 3, "choices": ["secret", "b"]}', 'json'));
  t.match(choices.message, /no column that is known/, 'a list of texts in a row is not the rows');
});

test('failures name the line and never the text', async (t) => {
  for (const [text, format, code, pointer, place] of [
    ['"ok"\n\n{secret', 'jsonl', 'prompts-invalid', '/2', /Line 3/],
    ['"ok"\n7', 'jsonl', 'prompts-invalid', '/1', /Line 2/],
    ['["ok", {"prompt": 3}]', 'json', 'prompts-invalid', '/1', /Item 2/],
    [`ok\n${'secret'.repeat(200)}`, 'text', 'prompt-too-long', '/1', /Line 2/],
    ['ok\nsecret\0', 'text', 'prompts-invalid', '/1', /Line 2/],
    ['"secret\\ud800"', 'jsonl', 'prompts-invalid', '/0', /Line 1/],
    ['{"prompt": "  "}', 'jsonl', 'prompts-empty', '/0', /Line 1/],
    ['id,question\n1,ok\n2,\n', 'csv', 'prompts-empty', '/1', /Row 2/],
  ] as const) {
    const failure = await failureOf(read(text, format));
    t.equal(failure.code, code, JSON.stringify(text));
    t.equal(failure.fields[0]?.pointer, pointer);
    t.match(failure.fields[0]?.message, place);
    t.notMatch(`${failure.message} ${JSON.stringify(failure.fields)}`, /secret/);
  }
  for (const [text, format] of [
    ['\n \n', 'text'],
    ['', 'jsonl'],
    ['[]', 'json'],
    ['', 'csv'],
    ['question\n', 'csv'],
  ] as const) {
    t.equal((await failureOf(read(text, format))).code, 'prompts-empty', JSON.stringify(text));
  }
});

test('limits hold to the last one allowed', async (t) => {
  const few = { maxPrompts: 5 };
  t.equal((await promptsOf('a\nb\nc\nd\ne', 'text', few)).length, 5);
  t.equal((await promptsOf('question\na\nb\nc\nd\ne', 'csv', few)).length, 5);
  for (const [text, format] of [
    ['a\nb\nc\nd\ne\nf', 'text'],
    ['1\n2\n3\n4\n5\n6', 'jsonl'],
    ['[1,2,3,4,5,6]', 'json'],
    ['question\na\nb\nc\nd\ne\nf', 'csv'],
  ] as const) {
    t.equal((await failureOf(read(text, format, few))).code, 'too-many-prompts', format);
  }
  t.equal((await failureOf(read('a'.repeat(11), 'text', { maxBytes: 10 }))).code, 'prompts-too-large');
  t.doesNotThrow(() => checkPrompts(['x'.repeat(12)], { maxPrompts: 1, maxPromptChars: 12 }, String));
  const failure = await failureOf(
    Promise.resolve().then(() => checkPrompts(Array(50).fill(''), LIMITS, (index) => `/prompts/${index}`)),
  );
  t.equal(failure.fields.length, 20, 'the listing is bounded');
  t.match(failure.message, /50 of 50/);
});

test('UTF-8 is strict, and UTF-16 is told by its byte-order mark', async (t) => {
  t.equal(decodeUtf8(Buffer.from('\ufeffstraße 日本')), 'straße 日本', 'a byte-order mark is dropped');
  for (const bytes of [[0xff], [0xc3], [0xed, 0xa0, 0x80], [0xc0, 0xaf]]) {
    t.equal((await failureOf(read(Uint8Array.from(bytes), 'text'))).code, 'text-not-utf8');
  }
  const little = Buffer.from('\ufeffstraße 日本\r\nzwei', 'utf16le');
  const big = Buffer.from(little).swap16();
  for (const bytes of [little, big]) {
    t.strictSame(await promptsOf(bytes, 'text'), ['straße 日本', 'zwei']);
  }
  const table = Buffer.from('\ufeffid\tquestion\n1\tWarum?\n', 'utf16le');
  t.strictSame(await promptsOf(table, 'tsv'), ['Warum?'], 'as spreadsheets write Unicode text');
  t.strictSame(
    await promptsOf('\ufeffquestion,answer\na,b\n', 'csv'),
    ['a'],
    'the mark is in no column’s name',
  );
  for (const bytes of [
    little.subarray(0, -1),
    [0xff, 0xfe, 0x00, 0xd8],
    [0xff, 0xfe, 0, 0, 0x61, 0, 0, 0],
    [0, 0, 0xfe, 0xff, 0, 0, 0, 0x61],
  ]) {
    t.throws(() => decodeText(Uint8Array.from(bytes)), { code: 'text-not-utf8' });
  }
});

test('CSV and TSV have a header, and fields may be quoted', async (t) => {
  t.strictSame(await promptsOf('id, question ,answer\n1,"a, ""b""\nc",d\n\n2,e,"f"\n', 'csv'), [
    'a, "b"\nc',
    'e',
  ]);
  t.strictSame(await promptsOf('question;answer\r\na,b;c\r\n', 'csv'), ['a,b'], 'semicolons');
  t.strictSame(await promptsOf('id\tquestion\r1\ta, b; c\r', 'tsv'), ['a, b; c'], 'lone carriage returns');
  t.strictSame(await promptsOf(',question\n0,a\n1,b\n', 'csv'), ['a', 'b'], 'an index without a name');
  t.strictSame(
    await promptsOf(
      'messages\n"[{""role"":""system"",""content"":""s""},{""role"":""user"",""content"":""q""}]"\n',
      'csv',
    ),
    ['q'],
    'a dialogue in a table, as JSON',
  );
  t.strictSame(
    (await read('__proto__,constructor,question\na,b,c\n', 'csv')).prompts,
    ['c'],
    'names of JavaScript are names',
  );
  for (const [text, message, pointer] of [
    ['question,answer\n"secret,b\nc,d\n', /quotation mark is opened and not closed/, undefined],
    ['question,answer\na,b\nsecret\n', /Near line 3: there are more or fewer columns/, '/2'],
    ['question,answer\n"secret"x,b\n', /Near line 2: text follows a closing quotation mark/, '/1'],
    ['question,question\na,b\n', /same name/, undefined],
    [`${Array(2000).fill('a').join(',')}\n`, /at most 1024 columns/, undefined],
    [
      'What is the secret?,Why?\nb,c\n',
      /no column that is known to hold prompts. Its columns: 2 that cannot be shown/,
      '/0',
    ],
  ] as const) {
    const failure = await failureOf(read(text, 'csv'));
    t.equal(failure.code, 'prompts-invalid', text.slice(0, 40));
    t.match(failure.message, message);
    if (pointer) t.equal(failure.fields[0]?.pointer, pointer);
    t.notMatch(`${failure.message} ${JSON.stringify(failure.fields)}`, /secret/);
  }
});

test('files that hold no prompts say what they are', async (t) => {
  for (const [content, format, what] of [
    ['PK\x03\x04secret', 'csv', /zip archive.*\.xlsx.*save it as CSV/],
    ['version https://git-lfs.github.com/spec/v1\noid sha256:secret\nsize 3\n', 'text', /Git LFS pointer/],
    ['<!DOCTYPE html>\n<title>secret', 'jsonl', /HTML page/],
    ['ARROW1\0\0secret', 'parquet', /Arrow file/],
    ['%PDF-1.7 secret', 'text', /a PDF/],
    ['BZh91AY&SYsecret', 'jsonl', /bzip2/],
    [Buffer.from('\xfd7zXZ\0secret', 'latin1'), 'jsonl', /xz/],
    [gzipSync('<!doctype html>secret'), 'text', /HTML page/],
  ] as const) {
    const failure = await failureOf(read(content, format));
    t.equal(failure.code, 'prompts-invalid');
    t.match(failure.message, what);
    t.notMatch(failure.message, /secret/);
  }
  t.strictSame(await promptsOf('BZhello\nPK', 'text'), ['BZhello', 'PK']);
});

test('gzip and zstd are told by their bytes and bounded', async (t) => {
  const rows = Buffer.from(lines({ question: 'a' }, { question: 'b' }));
  t.strictSame(await promptsOf(gzipSync(rows), 'jsonl'), ['a', 'b']);
  t.strictSame(await promptsOf(zstdCompressSync(rows), 'jsonl'), ['a', 'b']);
  const halves = [Buffer.from('a\n'), Buffer.from('b\n')];
  t.strictSame(await promptsOf(Buffer.concat(halves.map((half) => gzipSync(half))), 'text'), ['a', 'b']);
  const skippable = Buffer.from([0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 1, 2]);
  const frames = halves.flatMap((half) => [skippable, zstdCompressSync(half)]);
  t.strictSame(await promptsOf(Buffer.concat(frames), 'text'), ['a', 'b'], 'all frames, not the first alone');

  const zeros = Buffer.alloc(50_000_000);
  for (const bomb of [
    gzipSync(zeros),
    zstdCompressSync(zeros),
    Buffer.concat(Array(200).fill(zstdCompressSync(rows))),
  ]) {
    const failure = await failureOf(read(bomb, 'text', { maxBytes: 5000 }));
    t.equal(failure.code, 'prompts-too-large');
  }
  const many = Buffer.concat(Array(5000).fill(zstdCompressSync(Buffer.of())));
  t.equal((await failureOf(read(many, 'text'))).code, 'prompts-too-large', 'frames of nothing');
  for (const packed of [gzipSync(rows), zstdCompressSync(rows)]) {
    for (const damaged of [
      packed.subarray(0, -5),
      Buffer.concat([packed, Buffer.from('more')]),
      packed.subarray(0, 4),
    ]) {
      const failure = await failureOf(read(damaged, 'jsonl'));
      t.equal(failure.code, 'prompts-invalid');
      t.match(failure.message, /damaged or cut off/);
    }
  }
});

test('what is large is read beside the event loop, with the same outcome', async (t) => {
  const rows = Array.from({ length: 20_000 }, (_, index) => ({
    question: `Why ${index}?`,
    answer: 'x'.repeat(40),
  }));
  const limits = { maxPrompts: 20_000, maxBytes: 1 << 24 };
  for (const format of ['jsonl', 'json', 'csv'] as const) {
    const text =
      format === 'csv'
        ? `question,answer\n${rows.map(({ question, answer }) => `${question},${answer}`).join('\n')}`
        : format === 'json'
          ? JSON.stringify(rows)
          : lines(...rows);
    t.ok(text.length > MAX_BYTES_INLINE);
    let ticks = 0;
    const timer = setInterval(() => void ticks++, 1);
    const reading = await read(text, format, limits);
    clearInterval(timer);
    t.ok(ticks > 5, 'the event loop went on');
    t.equal(reading.prompts.length, 20_000);
    t.equal(reading.prompts[19_999], 'Why 19999?');
    t.strictSame(reading.source, { format, field: 'question', rows: 20_000, distinct: 20_000 });
  }
  const failure = await failureOf(
    read(lines(...rows, { question: 7 }), 'jsonl', { ...limits, maxPrompts: 1e5 }),
  );
  t.equal(failure.code, 'prompts-invalid', 'failures come back as they are');
  t.equal(failure.fields[0]?.pointer, '/20000');
  t.ok(failure instanceof Error);
});

test('file names tell the format', async (t) => {
  for (const [name, format] of [
    ['a.TXT', 'text'],
    ['dir/a.b.jsonl', 'jsonl'],
    ['a.ndjson', 'jsonl'],
    ['a.json', 'json'],
    ['a.csv', 'csv'],
    ['a.tsv', 'tsv'],
    ['train-00000-of-00001.parquet', 'parquet'],
    ['a.jsonl.gz', 'jsonl'],
    ['a.csv.ZST', 'csv'],
    ['a.constructor', undefined],
    ['a.gz', undefined],
    ['txt', undefined],
  ] as const) {
    t.equal(promptFormatOf(name), format, name);
  }
});
