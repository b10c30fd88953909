import { type ChildProcess, execFile } from 'node:child_process';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import type { EvaluationReport } from '../../src/cli/evaluation-report.ts';
import { CHILD_ENVIRONMENT } from '../helpers/child-environment.ts';
import { TINY_LAYOUT, tinyWeights, writeTinyGguf } from '../helpers/tiny-llama.ts';
import { importSmallBundle } from '../models/small-bundle.ts';

const main = join(import.meta.dirname, '..', '..', 'src', 'main.ts');

const ROWS = Array.from({ length: 24 }, (_, index) => ({
  prompt: `Is ${index} even?`,
  response: index % 2 === 0 ? 'yes' : 'no',
}));
const lines = (rows: readonly unknown[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join('');

/** A bundle for the tiny Llama, the Llama, and a directory that temporary files go to. */
async function setUp(t: Test) {
  const root = t.testdir({
    temporary: {},
    'rows.jsonl': lines(ROWS),
    'other.txt': 'Name a colour.\nName a city.\nName a river.\n',
  });
  await mkdir(join(root, 'made'));
  const { bundle } = await importSmallBundle(
    join(root, 'made'),
    {
      kernel: 3,
      features: [
        [3, 6, 8],
        [4, 5, 7],
        [64, TINY_LAYOUT.rank + 2, TINY_LAYOUT.chunkWidth + 2],
      ],
    },
    { base: { id: 'example/tiny', architecture: 'llama', layout: TINY_LAYOUT } },
  );
  const base = join(root, 'tiny.gguf');
  await writeTinyGguf(base, tinyWeights(1));
  const temporary = join(root, 'temporary');
  const run = (
    options: Readonly<Record<string, string>>,
    flags: readonly string[] = [],
    onStart: (child: ChildProcess) => void = () => {},
  ) => {
    const all = { bundle: bundle.directory, base, data: join(root, 'rows.jsonl'), threads: '1', ...options };
    const args = Object.entries(all).flatMap(([name, value]) => [`--${name}`, value]);
    return new Promise<{ code: number; out: string; err: string }>((resolve) => {
      const child = execFile(
        process.execPath,
        [main, 'evaluate', ...args, ...flags],
        { env: { ...CHILD_ENVIRONMENT, TMPDIR: temporary } },
        (error, out, err) => resolve({ code: error ? Number(error.code) : 0, out, err }),
      );
      onStart(child);
    });
  };
  return { root, temporary, run };
}

test('a bundle is judged, the same way every time, and nothing is left behind', async (t) => {
  const { root, temporary, run } = await setUp(t);
  const shown = await run({ limit: '10', draws: '2', control: join(root, 'other.txt') });
  t.equal(shown.code, 0, shown.err);
  t.match(shown.out, /10 of 24 rows scored, adapters drawn from 14 prompts/);
  t.match(shown.out, /THIS BUNDLE IS UNTRAINED/);
  t.match(shown.out, /accuracy[\s\S]*base alone[\s\S]*mean of 2[\s\S]*control[\s\S]*adapters minus control/);
  t.match(shown.out, /base held to the listed choices +\d[\s\S]*uniform guess in the right form +\d/);
  t.match(shown.out, /^(helps: |harms: |no difference seen with 10 rows: ).*95 % interval.*$/m);
  t.match(shown.err, /evaluating .* 100% done/);

  const json = await run({ limit: '10', draws: '2' }, ['--json']);
  t.equal(json.code, 0, json.err);
  const report = JSON.parse(json.out) as EvaluationReport;
  t.match(report, {
    bundle: { id: 'tiny', trained: false },
    base: { file: 'tiny.gguf', id: 'example/tiny' },
    rows: { given: 24, scored: 10, withChoices: 10, prompts: 14 },
  });
  const { untouched, generated, form } = report;
  const guess = (Math.log(2) * report.rows.withChoices) / report.rows.answerTokens;
  t.ok(Math.abs(form!.uniformGuess.nll.value - guess) < 1e-9);
  t.equal(form!.uniformGuess.accuracy?.value, 0.5);
  t.strictSame(form!.baseHeldToChoices.accuracy, untouched.accuracy);
  t.ok(form!.baseHeldToChoices.nll.value < untouched.nll.value, 'the form is for nothing');
  const overGuess = generated.mean.nll.value - guess;
  t.ok(Math.abs(form!.generatedMinusUniformGuess.nll.value - overGuess) < 1e-9);
  t.equal(report.verdict.gain, report.verdict.word === 'helps' ? 'form alone' : undefined);
  t.equal(generated.draws.length, 2);
  t.not(generated.draws[0]?.nll, generated.draws[1]?.nll, 'each adapter takes the next draw');
  const change = generated.mean.nll.value - untouched.nll.value;
  t.ok(Math.abs(generated.minusBase.nll.value - change) < 1e-9);
  t.not(change, 0, 'the adapters are at work');
  t.match(shown.out, untouched.nll.value.toFixed(4), 'both forms say the same');
  t.strictSame(await readdir(temporary), []);

  const own = await run({ limit: '3', draws: '1', prompts: join(root, 'rows.jsonl') }, ['--json']);
  t.match(JSON.parse(own.out), {
    rows: { scored: 3, prompts: 24 },
    warnings: ['3 of the 24 prompts are also scored.'],
  });
});

test('what cannot be judged is refused with a reason', async (t) => {
  const { root, temporary, run } = await setUp(t);
  const weights = tinyWeights(1);
  const path = (name: string) => join(root, name);
  await writeFile(path('text.gguf'), 'no model');
  const numbers = { block_count: 2, context_length: 512, embedding_length: 32, feed_forward_length: 64 };
  await writeTinyGguf(path('qwen.gguf'), weights, {
    'general.architecture': 'qwen2',
    'qwen2.attention.head_count': { u32: 4 },
    ...Object.fromEntries(Object.entries(numbers).map(([key, u32]) => [`qwen2.${key}`, { u32 }])),
  });
  await writeTinyGguf(path('wide.gguf'), weights, { 'llama.feed_forward_length': { u32: 128 } });
  await writeFile(path('none.jsonl'), '\n');
  await writeFile(path('bad.jsonl'), lines([ROWS[0], { prompt: 'private' }]));
  const cases: [Record<string, string>, RegExp][] = [
    [{ base: path('text.gguf') }, /not a GGUF file.*\[base-model-unusable\]/],
    [{ base: path('absent.gguf') }, /absent\.gguf cannot be read \(ENOENT\).*\[input-unusable\]/],
    [{ base: path('qwen.gguf') }, /architecture llama, and this one's is qwen2.*\[adapter-mismatch\]/],
    [
      { base: path('wide.gguf') },
      /makes adapters for another model[\s\S]*up_proj is 32 → 64, and the base's is 32 → 128/,
    ],
    [{ data: path('none.jsonl') }, /There are no rows.*\[evaluation-data-invalid\]/],
    [{ data: path('bad.jsonl') }, /1 of 2 rows cannot be used[\s\S]*Line 2 has no usable text in "response"/],
    [{ draws: '0' }, /--draws is a whole number from 1 to 100/],
    [{ prompts: path('text.gguf') }, /none of \.txt/],
  ];
  for (const [options, message] of cases) {
    const { code, out, err } = await run(options);
    t.equal(code, 1, err);
    t.match(err, message);
    t.notMatch(err, /private|at .*\.ts/);
    t.equal(out, '');
  }
  t.strictSame(await readdir(temporary), []);
});

test('Ctrl-C stops it and leaves nothing behind', async (t) => {
  const { temporary, run } = await setUp(t);
  const { code, err } = await run({ draws: '100' }, [], (child) => {
    let seen = '';
    child.stderr?.on('data', (chunk: string) => {
      seen += chunk;
      if (/writing|the base|adapter/.test(seen) && !child.killed) child.kill('SIGINT');
    });
  });
  t.equal(code, 1);
  t.match(err, /Interrupted: nothing was left behind\. \[canceled\]/);
  t.strictSame(await readdir(temporary), []);
});
