import { test } from 'tap';
import type { LoradropError } from '../../src/base/errors.ts';
import { checkPrompts, decodeUtf8, parsePrompts, promptFormatOf } from '../../src/prompts/parse-prompts.ts';

const limits = { maxPrompts: 5, maxPromptChars: 12 };
const failureOf = (run: () => unknown): LoradropError => {
  try {
    run();
  } catch (error) {
    return error as LoradropError;
  }
  throw new Error('nothing was thrown');
};
const lines = (...rows: readonly unknown[]) => rows.map((row) => JSON.stringify(row)).join('\n');

test('text is a prompt a line, blank lines skipped and line endings dropped', async (t) => {
  t.strictSame(parsePrompts('one\r\n\n  two \n\t\nthree', 'text', limits), ['one', '  two ', 'three']);
  t.strictSame(parsePrompts('one\n', 'text', limits), ['one']);
});

test('JSON lines take strings and the shapes of public data sets', async (t) => {
  t.strictSame(parsePrompts(lines('a', { prompt: 'b', answer: 'x' }), 'jsonl', limits), ['a', 'b']);
  t.strictSame(
    parsePrompts(
      lines({
        conversations: [
          { from: 'human', value: 'q' },
          { from: 'gpt', value: 'r' },
        ],
      }),
      'jsonl',
      limits,
    ),
    ['q'],
  );
  t.strictSame(
    parsePrompts(
      lines({
        messages: [
          { role: 'system', content: 's' },
          { role: 'user', content: 'u' },
        ],
      }),
      'jsonl',
      limits,
    ),
    ['u'],
  );
  t.strictSame(
    parsePrompts(lines({ instruction: 'i', input: '' }, { instruction: 'i', input: 'n' }), 'jsonl', limits),
    ['i', 'i\nn'],
  );
});

test('the place of the prompt is one for all rows (spec §1.1)', async (t) => {
  const turn = (value: string) => ({ conversations: [{ from: 'human', value }] });
  t.strictSame(
    parsePrompts(lines({ prompt: 'p', ...turn('c') }, turn('d')), 'jsonl', limits),
    ['c', 'd'],
    'a row without `prompt` moves every row to its first turn',
  );
  const failure = failureOf(() => parsePrompts(lines('a', turn('b')), 'jsonl', limits));
  t.equal(failure.code, 'prompts-invalid');
  t.strictSame(
    failure.fields.map(({ pointer }) => pointer),
    ['/1'],
  );
});

test('a JSON array is read like lines', async (t) => {
  t.strictSame(parsePrompts('["a", {"prompt": "b"}]', 'json', limits), ['a', 'b']);
  t.equal(failureOf(() => parsePrompts('{"prompt": "a"}', 'json', limits)).code, 'prompts-invalid');
});

test('failures name the line and never the text', async (t) => {
  for (const [text, format, code, pointer, place] of [
    ['"ok"\n\n{secret', 'jsonl', 'prompts-invalid', '/2', /Line 3/],
    ['"ok"\n7', 'jsonl', 'prompts-invalid', '/1', /Line 2/],
    ['["ok", {"prompt": 3}]', 'json', 'prompts-invalid', '/1', /Item 2/],
    ['ok\nsecret secret secret', 'text', 'prompt-too-long', '/1', /Line 2/],
    ['ok\nsecret\0', 'text', 'prompts-invalid', '/1', /Line 2/],
    ['"secret\\ud800"', 'jsonl', 'prompts-invalid', '/0', /Line 1/],
    ['{"prompt": "  "}', 'jsonl', 'prompts-empty', '/0', /Line 1/],
  ] as const) {
    const failure = failureOf(() => parsePrompts(text, format, limits));
    t.equal(failure.code, code, JSON.stringify(text));
    t.equal(failure.fields[0]?.pointer, pointer);
    t.match(failure.fields[0]?.message, place);
    t.notMatch(`${failure.message} ${JSON.stringify(failure.fields)}`, /secret/);
  }
  for (const [text, format] of [
    ['\n \n', 'text'],
    ['', 'jsonl'],
    ['[]', 'json'],
  ] as const) {
    t.equal(failureOf(() => parsePrompts(text, format, limits)).code, 'prompts-empty');
  }
  t.equal(failureOf(() => parsePrompts('{secret', 'json', limits)).code, 'prompts-invalid');
});

test('limits hold to the last one allowed', async (t) => {
  t.equal(parsePrompts('a\nb\nc\nd\ne', 'text', limits).length, 5);
  for (const [text, format] of [
    ['a\nb\nc\nd\ne\nf', 'text'],
    ['1\n2\n3\n4\n5\n6', 'jsonl'],
    ['[1,2,3,4,5,6]', 'json'],
  ] as const) {
    t.equal(failureOf(() => parsePrompts(text, format, limits)).code, 'too-many-prompts');
  }
  t.doesNotThrow(() => checkPrompts(['x'.repeat(12)], limits, String));
  const failure = failureOf(() =>
    checkPrompts(Array(50).fill(''), { ...limits, maxPrompts: 50 }, (index) => `/prompts/${index}`),
  );
  t.equal(failure.fields.length, 20, 'the listing is bounded');
  t.match(failure.message, /50 of 50/);
});

test('UTF-8 is strict', async (t) => {
  t.equal(decodeUtf8(Buffer.from('\ufeffstraße 日本')), 'straße 日本', 'a byte-order mark is dropped');
  for (const bytes of [[0xff], [0xc3], [0xed, 0xa0, 0x80], [0xc0, 0xaf]]) {
    t.equal(failureOf(() => decodeUtf8(Uint8Array.from(bytes))).code, 'text-not-utf8');
  }
});

test('file names tell the format', async (t) => {
  t.equal(promptFormatOf('a.TXT'), 'text');
  t.equal(promptFormatOf('dir/a.b.jsonl'), 'jsonl');
  t.equal(promptFormatOf('a.ndjson'), 'jsonl');
  t.equal(promptFormatOf('a.json'), 'json');
  t.equal(promptFormatOf('a.constructor'), undefined);
  t.equal(promptFormatOf('txt'), undefined);
});
