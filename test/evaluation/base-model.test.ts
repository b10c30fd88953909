import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { writeGguf } from '../../src/adapter/gguf.ts';
import { openBaseFile } from '../../src/evaluation/base-model.ts';
import { loraTensors } from '../../src/lora/tensors.ts';
import {
  TINY_BASE,
  TINY_LAYOUT,
  TINY_TOKENS,
  tinyAdapter,
  tinyGguf,
  tinyLogLikelihoods,
  tinyWeights,
  withAdapter,
  writeTinyGguf,
} from '../helpers/tiny-llama.ts';

const ROWS = [
  { prompt: 'What is it?', response: '[A]', choices: ['[A]', '[B]', '[AB]', 'no'] },
  { prompt: 'Say the word.', response: 'hello', system: 'Be brief.' },
  { prompt: 'What is it not?', response: 'no', choices: ['yes', 'no'] },
];

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);

async function openTinyFile(t: Test, path: string) {
  const file = await openBaseFile(path, { threads: 1 });
  t.teardown(() => file.close());
  return file;
}

async function openTiny(t: Test, weights = tinyWeights(1)) {
  const directory = t.testdir({});
  const path = join(directory, 'tiny.gguf');
  await writeTinyGguf(path, weights);
  const file = await openTinyFile(t, path);
  const model = await file.load();
  return { directory, weights, file, model };
}

test('prompts are what the template gives, answers end with the token that ends a turn', async (t) => {
  const { file, model } = await openTiny(t);
  t.match(file.facts, TINY_BASE);
  const bytes = (text: string) => [...Buffer.from(text)].map((byte) => TINY_TOKENS.firstByte + byte);
  const turn = (text: string) => [TINY_TOKENS.start, ...bytes(text), TINY_TOKENS.end, ...bytes('\n')];
  const answered = [TINY_TOKENS.start, ...bytes('assistant\n')];
  const [first, second] = model.prepare(ROWS.slice(0, 2));
  t.strictSame(first?.prompt, [...turn('system\nBe tiny.'), ...turn('user\nWhat is it?'), ...answered]);
  t.strictSame(first?.answers[2], [...bytes('[AB]'), TINY_TOKENS.end]);
  t.equal(second?.answers[0]?.length, 5, 'the merge made one token of two');
  const [, withSystem] = model.prepare(ROWS.slice(0, 2), { withSystem: true });
  t.strictSame(withSystem?.prompt.slice(0, 18), turn('system\nBe brief.').slice(0, 18));
});

test('likelihoods are those of the arithmetic, without and with an adapter', async (t) => {
  const { directory, weights, model } = await openTiny(t);
  const rows = model.prepare(ROWS);
  const matrices = tinyAdapter(5);
  const tensors = loraTensors(TINY_LAYOUT);
  const adapted = withAdapter(weights, matrices);

  const check = async (name: string, tiny: typeof weights, adapter?: string) => {
    const scores = await model.score(rows, adapter === undefined ? {} : { adapter });
    let largest = 0;
    for (const [index, { prompt, answers, response }] of rows.entries()) {
      const wanted = answers.map((answer) => sum(tinyLogLikelihoods(tiny, prompt, answer)));
      const score = scores[index]!;
      largest = Math.max(largest, Math.abs(score.nll + wanted[response]!) / score.tokens);
      t.equal(score.tokens, answers[response]!.length);
      const best = wanted.indexOf(Math.max(...wanted));
      t.equal(
        score.correct,
        answers.length > 1 ? Number(best === response) : undefined,
        `${name}, row ${index}`,
      );
      if (answers.length === 1) {
        t.equal(score.choices, undefined);
        continue;
      }
      const among = wanted[response]! - Math.log(sum(wanted.map(Math.exp)));
      t.equal(score.choices!.count, answers.length);
      t.ok(
        Math.abs(score.choices!.nll + among) < 5e-3 * score.tokens,
        `${name}, row ${index} among its choices`,
      );
    }
    // Keys and values are kept in half precision, and so are the products of an f16 adapter; all in f32 it is 5e-7.
    t.comment(`${name}: ${largest.toExponential(1)} nats a token`);
    t.ok(largest < 5e-3);
    return scores;
  };
  const base = await check('base', weights);
  for (const dtype of ['f32', 'f16'] as const) {
    const path = join(directory, `${dtype}.gguf`);
    await writeFile(
      path,
      writeGguf(tensors, matrices, {
        dtype,
        architecture: 'llama',
        alpha: TINY_LAYOUT.alpha,
        heads: TINY_BASE,
      }),
    );
    const scores = await check(dtype, adapted, path);
    t.ok(Math.abs(scores[1]!.nll - base[1]!.nll) > 0.1, 'the adapter changes something');
  }

  // The same check does see rows in the wrong order.
  const path = join(directory, 'wrong.gguf');
  await writeFile(
    path,
    writeGguf(tensors, matrices, {
      dtype: 'f32',
      architecture: 'qwen2',
      alpha: TINY_LAYOUT.alpha,
      heads: TINY_BASE,
    }),
  );
  await t.rejects(
    model.score(rows, { adapter: path }),
    { code: 'base-adapter-refused' },
    'another architecture',
  );
  const swapped = join(directory, 'swapped.gguf');
  await writeFile(
    swapped,
    writeGguf(tensors, matrices, {
      dtype: 'f32',
      architecture: 'llama',
      alpha: TINY_LAYOUT.alpha,
      heads: { heads: 2, kvHeads: 1 },
    }),
  );
  const [wrong] = await model.score(rows.slice(1, 2), { adapter: swapped });
  const [, { prompt, answers }] = rows as [unknown, (typeof rows)[number]];
  t.ok(Math.abs(wrong!.nll + sum(tinyLogLikelihoods(adapted, prompt, answers[0]!))) / wrong!.tokens > 2e-2);
});

test('work can be stopped, and rows that do not fit are refused', async (t) => {
  const { model } = await openTiny(t);
  const stop = new AbortController();
  const done: number[] = [];
  const rows = model.prepare(ROWS);
  await t.rejects(
    model.score(rows, {
      signal: stop.signal,
      onRow: (count) => {
        done.push(count);
        stop.abort(new Error('enough'));
      },
    }),
    { message: 'enough' },
  );
  t.strictSame(done, [1]);
  t.throws(() => model.prepare([{ prompt: 'x'.repeat(600), response: 'y' }]), {
    code: 'evaluation-data-invalid',
    message: /context takes 512/,
  });
});

test('files that are no chat model are told apart', async (t) => {
  const weights = tinyWeights(1);
  const whole = tinyGguf(weights);
  const files: [string, Uint8Array, RegExp][] = [
    ['text', Buffer.from('not a model at all'), /not a GGUF file/],
    ['empty', Buffer.alloc(0), /not a GGUF file/],
    ['cut', whole.subarray(0, 300), /metadata/],
    ['adapter', tinyGguf(weights, { 'general.type': 'adapter' }), /not a model/],
    ['plain', tinyGguf(weights, { 'tokenizer.chat_template': undefined }), /no chat template/],
    ['headless', tinyGguf(weights, { 'llama.attention.head_count': undefined }), /head_count/],
  ];
  const directory = t.testdir({});
  for (const [name, bytes, message] of files) {
    const path = join(directory, name);
    await writeFile(path, bytes);
    await t.rejects(openBaseFile(path, { threads: 1 }), { code: 'base-model-unusable', message }, name);
  }
  const path = join(directory, 'half.gguf');
  await writeFile(path, whole.subarray(0, whole.length / 2));
  const half = await openTinyFile(t, path);
  await t.rejects(half.load(), { code: 'base-model-unusable', message: /does not load/ });
  await half.close();
  const broken = join(directory, 'template.gguf');
  await writeTinyGguf(broken, weights, { 'tokenizer.chat_template': '{% for' });
  await t.rejects((await openTinyFile(t, broken)).load(), { message: /template cannot be read/ });
});
