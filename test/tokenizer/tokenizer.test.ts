import { test } from 'tap';
import { createNormalizer } from '../../src/tokenizer/normalizers.ts';
import { createPreTokenizer } from '../../src/tokenizer/pre-tokenizers.ts';
import { createTokenizer } from '../../src/tokenizer/tokenizer.ts';
import { readReference } from './reference.ts';

const { texts, files, parts } = readReference();
type Loose = { [key: string | number]: Loose };

/** A copy of a file's content; with a path of keys and a value, changed there. A list is added to behind its end. */
function contentOf(name: string, path: readonly (string | number)[] = [], value?: unknown): unknown {
  const content = structuredClone(files.find((file) => file.name === name)!.content);
  const holder = path.slice(0, -1).reduce((inner, key) => inner[key]!, content as Loose);
  if (path.length > 0) holder[path.at(-1)!] = value as Loose;
  return content;
}

test('ids are those of the reference library, for files of every common kind', (t) => {
  t.ok(texts.length >= 300);
  for (const { name, content, ids } of files) {
    const { before, after, encode } = createTokenizer(content);
    const wrong = texts.filter(
      (text, index) => [...before, ...encode(text), ...after].join() !== ids[index]!.join(),
    );
    t.same(wrong, [], name);
  }
  t.end();
});

test('each normalizer and pre-tokenizer does what the reference library does', (t) => {
  for (const { kind, config, results } of parts) {
    const label = JSON.stringify(config).slice(0, 120);
    if (kind === 'normalizer') {
      const normalize = createNormalizer(config);
      t.same(
        texts.map((text) => normalize(text)),
        results,
        label,
      );
      continue;
    }
    const split = createPreTokenizer(config);
    const pieces = texts.map((text) =>
      (text === '' ? [] : split([{ text, isFirst: true }])).map((piece) => piece.text),
    );
    t.same(pieces, results, label);
  }
  t.end();
});

test('Greek sigma at the end of a word is written as anywhere else', (t) => {
  const { before, encode, after } = createTokenizer(contentOf('bert-uncased'));
  t.same([...before, ...encode('ΑΣ'), ...after], [101, 1155, 29_733, 102]);
  t.end();
});

test('a text as long as a prompt may be is encoded whatever it is made of', (t) => {
  // Every file once, each with another kind of text; the library that was used before ran out of stack at 123,000.
  const length = 131_072;
  const units = ['x', '中', ' ', '\u0301', '😀', '.', 'a\u200d', '\n', "'s", 'aB1. '];
  for (const [index, { name, content }] of files.entries()) {
    const unit = units[index % units.length]!;
    const text = unit.repeat(length / unit.length);
    t.ok(createTokenizer(content).encode(text).length >= 0, `${name}: ${JSON.stringify(unit)}`);
  }
  for (const name of ['t5', 'albert']) {
    t.ok(createTokenizer(contentOf(name)).encode('x'.repeat(length)).length > 0, name);
  }
  t.end();
});

test('no more ids are made than wanted', (t) => {
  for (const { content } of files) {
    const { encode } = createTokenizer(content);
    for (const text of texts.slice(0, 60)) t.same(encode(text, 3), encode(text).slice(0, 3));
  }
  t.end();
});

test('truncation and padding blocks change nothing', (t) => {
  const text = 'The quick brown fox jumps over the lazy dog.';
  const plain = createTokenizer(contentOf('roberta')).encode(text);
  for (const [block, value] of [
    ['truncation', { max_length: 4, strategy: 'LongestFirst', stride: 0, direction: 'Right' }],
    ['padding', { strategy: { Fixed: 99 }, direction: 'Left', pad_id: 9, pad_type_id: 0, pad_token: 'x' }],
  ] as const) {
    t.same(createTokenizer(contentOf('roberta', [block], value)).encode(text), plain, block);
  }
  t.end();
});

test('what is not computed the same here is refused by name', (t) => {
  const nested = Array.from({ length: 20 }).reduce<unknown>(
    (inner) => ({ type: 'Sequence', normalizers: [inner] }),
    null,
  );
  const table: [string, unknown, RegExp][] = [
    ['null', null, /content is no object/],
    ['no model', {}, /model is no object/],
    ['an unknown model', contentOf('t5', ['model', 'type'], 'Magic'), /model "Magic" is not known/],
    [
      'an unknown normalizer',
      contentOf('t5', ['normalizer'], { type: 'Nmt' }),
      /normalizer "Nmt" is not known/,
    ],
    [
      'an unknown pre-tokenizer',
      contentOf('t5', ['pre_tokenizer'], { type: 'UnicodeScripts' }),
      /pre-tokenizer "UnicodeScripts" is not known/,
    ],
    ['dropout', contentOf('roberta', ['model', 'dropout'], 0.1), /drops merges at random/],
    ['a lost unk', contentOf('bert-cased', ['model', 'unk_token'], '[NO]'), /lacks its own unk_token/],
    [
      'a lost merge',
      contentOf('roberta', ['model', 'merges', 0], ['Q#', 'Z#']),
      /has a token that the vocabulary lacks/,
    ],
    [
      'an odd id',
      contentOf('roberta', ['model', 'vocab', 'x'], -1),
      /id of the token "x" is no whole number/,
    ],
    [
      'an id out of order',
      contentOf('roberta', ['added_tokens', 1, 'id'], 9999),
      /has the id 9999, and its place is \d+/,
    ],
    ['a damaged table', contentOf('t5', ['normalizer', 'precompiled_charsmap'], 'AAAA'), /a damaged table/],
    [
      'two texts',
      contentOf('t5', ['post_processor', 'single', 1], { Sequence: { id: 'A' } }),
      /do not simply stand/,
    ],
    [
      'a first that may be gone',
      contentOf('metaspace-first', ['normalizer'], {
        type: 'Replace',
        pattern: { String: 'x' },
        content: '',
      }),
      /which its normalizer Replace may remove/,
    ],
    ['normalizers without end', contentOf('t5', ['normalizer'], nested), /nest too deep/],
  ];
  for (const [label, content, message] of table) {
    t.throws(() => createTokenizer(content), { code: 'tokenizer-invalid', message }, label);
  }
  t.end();
});
