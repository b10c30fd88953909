import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'tap';
import { openTokenizer } from '../../src/inference/tokenizer.ts';

const bert = join(import.meta.dirname, '../../src/models/bert-uncased/tokenizer.json');

/** Ids that the Rust library `tokenizers` 0.23.3 gives for the same file, truncated to 24. */
const cases = JSON.parse(await readFile(join(import.meta.dirname, 'tokenizer-cases.json'), 'utf8')) as {
  text: string;
  ids: number[];
}[];

test('ids are those of the reference library, cut and padded to the wanted length', async (t) => {
  const { tokenize } = await openTokenizer(bert, { tokens: 24, padTokenId: 0 });
  for (const [index, { text, ids }] of cases.entries()) {
    const prompt = tokenize(text);
    t.strictSame([...prompt.ids.subarray(0, prompt.length)], ids, `case ${index}`);
    t.equal(prompt.ids.length, 24);
    t.ok(prompt.ids.subarray(prompt.length).every((id) => id === 0));
  }
});

test('a cut prompt keeps its last special token, a short one is padded with the asked id', async (t) => {
  const { tokenize } = await openTokenizer(bert, { tokens: 5, padTokenId: 7 });
  t.strictSame(tokenize('one two three four five'), {
    ids: Int32Array.of(101, 2028, 2048, 2093, 102),
    length: 5,
  });
  t.strictSame(tokenize('one'), { ids: Int32Array.of(101, 2028, 102, 7, 7), length: 3 });
});

test('truncation and padding blocks of the file change nothing', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'loradrop-tokenizer-'));
  t.teardown(() => rm(directory, { recursive: true }));
  const json = JSON.parse(await readFile(bert, 'utf8'));
  json.truncation = { max_length: 4, strategy: 'LongestFirst', stride: 0, direction: 'Right' };
  json.padding = { strategy: { Fixed: 8 }, direction: 'Left', pad_id: 9, pad_type_id: 0, pad_token: 'x' };
  const path = join(directory, 'tokenizer.json');
  await writeFile(path, JSON.stringify(json));
  const { tokenize } = await openTokenizer(path, { tokens: 24, padTokenId: 0 });
  for (const { text, ids } of cases) {
    const prompt = tokenize(text);
    t.strictSame([...prompt.ids.subarray(0, prompt.length)], ids);
  }
});

test('what a prompt cannot be is refused, and the largest id is told', async (t) => {
  const { tokenize, largestId } = await openTokenizer(bert, { tokens: 24, padTokenId: 0 });
  t.equal(largestId, 30_521);
  for (const text of ['\ud800', 'a\udc00b']) {
    t.throws(() => tokenize(text), { code: 'prompts-unusable', message: /half of a surrogate pair/ });
  }
});

test('files that make no tokenizer are refused', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'loradrop-tokenizer-'));
  t.teardown(() => rm(directory, { recursive: true }));
  const path = join(directory, 'tokenizer.json');
  for (const text of [
    '',
    '{',
    'null',
    '{}',
    '{"model":{"type":"NoSuchModel"}}',
    '{"normalizer":{"type":"Precompiled"}}',
  ]) {
    await writeFile(path, text);
    await t.rejects(openTokenizer(path, { tokens: 8, padTokenId: 0 }), { code: 'bundle-unloadable' }, text);
  }
  await t.rejects(openTokenizer(bert, { tokens: 2, padTokenId: 0 }), {
    code: 'bundle-unloadable',
    message: /no room/,
  });
});
