import { type ChildProcess, execFile } from 'node:child_process';
import { mkdir, readdir, readFile, stat, watch, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { test } from 'tap';
import { verifyAdapter } from '../../src/adapter/verify.ts';
import { findBase } from '../../src/lora/bases.ts';
import { CHILD_ENVIRONMENT } from '../helpers/child-environment.ts';
import { SAMPLE_EVALUATION } from '../models/sample-evaluation.ts';
import { writeEncoder } from '../models/small-bundle.ts';

const root = join(import.meta.dirname, '..', '..');

/** Runs `loradrop …` in a process of its own. */
function loradrop(
  args: readonly string[],
  environment: Record<string, string> = {},
  onStart: (child: ChildProcess) => void = () => {},
) {
  return new Promise<{ code: number; out: string; err: string }>((resolve) => {
    const child = execFile(
      process.execPath,
      [join(root, 'src', 'main.ts'), ...args],
      { env: { ...CHILD_ENVIRONMENT, ...environment } },
      (error, out, err) => resolve({ code: error ? Number(error.code) : 0, out, err }),
    );
    onStart(child);
  });
}

test('help lists the commands, and each command its options', async (t) => {
  const { code, out } = await loradrop(['--help']);
  t.equal(code, 0);
  for (const command of [
    'start',
    'serve',
    'worker',
    'demo',
    'generate',
    'evaluate',
    'import',
    'models',
    'inspect',
    'config',
  ]) {
    t.match(out, new RegExp(`^\\s+${command}\\b`, 'm'));
  }
  const start = await loradrop(['start', '--help']);
  t.equal(start.code, 0);
  t.match(start.out, /--queue-url <value>[\s\S]*QUEUE_URL/);
  t.equal((await loradrop(['help', 'start'])).out, start.out, 'asked for in the other way');
  t.match((await loradrop(['help', 'models'])).out, /pull \[options\] \[address\]/);
  t.match((await loradrop(['models', 'help', 'pull'])).out, /--include <pattern>/);
});

test('wrong usage ends with 2 and a hint, a failure with 1 and a sentence', async (t) => {
  t.equal((await loradrop(['nonsense'])).code, 2);
  t.equal((await loradrop(['generate'])).code, 2);
  const { code, err } = await loradrop(['config', '--port', 'abc']);
  t.equal(code, 1);
  t.match(err, /PORT/);
  t.notMatch(err, /at .*\.ts/, 'no stack');
  const split = await loradrop(['serve']);
  t.equal(split.code, 1);
  t.match(split.err, /QUEUE_URL/);
});

test('config shows what holds, secrets hidden', async (t) => {
  const { out } = await loradrop(['config', '--port', '81'], {
    QUEUE_URL: 'redis://:hunter2@queue',
    MAX_QUEUED: '5',
  });
  t.match(out, /PORT\s+81/);
  t.match(out, /MAX_QUEUED\s+5/);
  t.notMatch(out, /hunter2/);
});

test('a bundle is built, listed, verified and generated from, without a server', async (t) => {
  const dataDir = t.testdir({ 'prompts.txt': 'What is rust?\n\nWhy is the sky blue?\n', out: {} });
  const bundle = join(dataDir, 'bundles', 'untrained');
  const own = ['--id', 'smollm2-135m-untrained', '--out', bundle];
  const built = await loradrop(['import', '--synthetic', 'small', ...own]);
  t.equal(built.code, 0, built.err);
  t.match(built.out, /untrained: valid files, random effect/);

  const shipped = await loradrop(['models', 'list', '--data-dir', join(dataDir, 'out')]);
  t.match(shipped.out, /^no bundle in .*out\/bundles\n.*comes with Loradrop:\nid [\s\S]*prompts/m);
  const listed = await loradrop(['models', 'list', '--data-dir', dataDir]);
  t.match(listed.out, /memory$/m);
  t.match(listed.out, /smollm2-135m-untrained.*untrained.* [0-9.]+ MiB +[0-9.]+ MiB$/m);
  t.match((await loradrop(['models', 'verify', bundle])).out, /digest [0-9a-f]{64}/);
  t.match(
    (await loradrop(['models', 'inspect', bundle])).out,
    /16 prompts × 64 tokens × 128[\s\S]*memory +about [0-9.]+ MiB for the generator/,
  );

  const prompts = join(dataDir, 'prompts.txt');
  const run = (out: string, ...more: string[]) =>
    loradrop(['generate', '--bundle', bundle, '--prompts', prompts, '--out', join(dataDir, out), ...more]);
  const made = await run('one', '--dtype', 'f32', '--seed', '3');
  t.equal(made.code, 0, made.err);
  t.match(made.out, /! The model takes 16 prompts, the request has 2/);
  const { layout } = findBase('smollm2-135m')!;
  t.match(await verifyAdapter(join(dataDir, 'one'), layout, { finite: true }), {
    tensors: 420,
    dtype: 'f32',
  });

  t.equal((await run('two', '--count', '2', '--seed', '3', '--dtype', 'f32')).code, 0);
  const weights = (name: string) => readFile(join(dataDir, name, 'adapter_model.safetensors'));
  t.ok((await weights('one')).equals(await weights('two/0')), 'adapter 0 does not depend on the count');
  t.notOk((await weights('two/0')).equals(await weights('two/1')), 'each adapter takes the next draw');

  const table = join(dataDir, 'prompts.csv.gz');
  await writeFile(table, gzipSync('id,topic,verb\n1,rust,is\n2,ice,is\n3,ice,is\n'));
  const from = (file: string, out: string, ...more: string[]) =>
    loradrop(['generate', '--bundle', bundle, '--prompts', file, '--out', join(dataDir, out), ...more]);
  const template = ['--prompt-template', 'What {verb} {topic}?', '--seed', '3', '--dtype', 'f32'];
  const tabled = await from(table, 'table', ...template);
  t.equal(tabled.code, 0, tabled.err);
  t.match(tabled.out, /: 3 prompts from a template of verb \+ topic, 2 distinct; 16 a condition/);
  const named = await from(table, 'named', '--prompt-field', 'topic', '--seed', '3', '--dtype', 'f32');
  t.match(named.out, /3 prompts from topic, 2 distinct/);
  t.notOk((await weights('table')).equals(await weights('named')));
  const unnamed = await from(table, 'unnamed');
  t.equal(unnamed.code, 1);
  t.match(unnamed.err, /Its columns: `id`, `topic`, `verb`\. .*--prompt-field.*\[prompts-invalid\]/);

  const strict = await run('strict', '--strict-prompts');
  t.equal(strict.code, 1);
  t.match(strict.err, /takes 16 prompts, the request has 2\. \[too-few-prompts\]/);
  const occupied = await run('one');
  t.equal(occupied.code, 1);
  t.match(occupied.err, /not an empty directory/);
  const inspected = await loradrop(['inspect', join(dataDir, 'one', 'adapter_model.safetensors')]);
  t.match(inspected.out, /420 tensors, 2,442,240 numbers/);

  // A changed byte is found and named.
  const data = await readFile(join(bundle, 'encoder.onnx.data'));
  data[1000]! ^= 1;
  await writeFile(join(bundle, 'encoder.onnx.data'), data);
  const damaged = await loradrop(['models', 'verify', bundle]);
  t.equal(damaged.code, 1);
  t.match(damaged.err, /encoder\.onnx\.data does not have the digest/);
  t.match(
    (await loradrop(['models', 'list', '--data-dir', dataDir])).out,
    /! untrained: encoder\.onnx\.data/,
  );
});

test('inputs that cannot be used are named, and nothing is left behind', async (t) => {
  const dir = t.testdir({
    'bad.jsonl': '{"prompt": 1}\n',
    'bad.bin': 'x',
    'bad.safetensors': 'nonsense',
    encoder: {},
  });
  const before = await readdir(dir);
  await mkdir(join(dir, 'encoder'), { recursive: true });
  const importing = await loradrop([
    'import',
    '--checkpoint',
    join(dir, 'bad.safetensors'),
    '--encoder',
    join(dir, 'encoder'),
    '--base',
    'qwen2.5-0.5b',
    '--out',
    join(dir, 'out'),
  ]);
  t.equal(importing.code, 1);
  t.match(importing.err, /bad\.safetensors cannot be read.*\[checkpoint-invalid\]/);
  t.notMatch(importing.err, dir, 'no path of the temporary build');
  t.equal(
    (await loradrop(['import', '--checkpoint', 'x', '--encoder', 'y', '--out', 'z'])).code,
    1,
    'neither base nor layout',
  );
  t.equal(
    (
      await loradrop([
        'generate',
        '--bundle',
        dir,
        '--prompts',
        join(dir, 'bad.bin'),
        '--out',
        join(dir, 'out'),
      ])
    ).code,
    1,
  );
  t.strictSame(await readdir(dir), before);
});

test('random weights of a published size become a bundle and a checkpoint, and say what they are', async (t) => {
  const dir = t.testdir({
    'evaluation.json': JSON.stringify(SAMPLE_EVALUATION),
    'bad-evaluation.json': JSON.stringify({ ...SAMPLE_EVALUATION, protocol: 5 }),
    'huge.json': ' '.repeat(2 ** 18 + 1),
    'card.md': '# Own encoder\n',
    'latin-1.md': Buffer.from([0xe4, 0x0a]),
  });
  const [evaluation, card] = [join(dir, 'evaluation.json'), join(dir, 'card.md')];
  const [checkpoint, encoder] = [join(dir, 'small.safetensors'), join(dir, 'encoder')];
  await writeEncoder(encoder, 128);
  const synthetic = ['import', '--synthetic', 'small', '--seed', '7'];
  const made = await loradrop([...synthetic, '--out', join(dir, 'small'), '--checkpoint-out', checkpoint]);
  t.equal(made.code, 0, made.err);
  t.match(made.out, /base HuggingFaceTB\/SmolLM2-135M-Instruct[\s\S]*untrained: valid files, random effect/);
  const inspected = await loradrop(['models', 'inspect', join(dir, 'small'), '--json']);
  t.match(JSON.parse(inspected.out), {
    id: 'small',
    trained: false,
    provenance: [/drawn at random from seed 7/, /Tokenizer/],
  });

  const file = ['import', '--checkpoint', checkpoint, '--base', 'smollm2-135m', '--untrained'];
  const facts = ['--evaluation', evaluation, '--card', card, '--description', 'A test.'];
  facts.push('--provenance', 'Decoder: a test.', '--provenance', 'Encoder: a test.');
  for (const [name, args] of [
    ['own-encoder', [...synthetic, ...facts]],
    ['from-file', [...file, '--licence', 'CC BY-NC 4.0', '--commercial-use', 'no']],
  ] as const) {
    const imported = await loradrop([...args, '--encoder', encoder, '--out', join(dir, name)]);
    t.equal(imported.code, 0, imported.err);
  }
  const own = join(dir, 'own-encoder');
  t.match(JSON.parse((await loradrop(['models', 'inspect', own, '--json'])).out), {
    description: 'A test.',
    provenance: ['Decoder: a test.', 'Encoder: a test.', /drawn at random from seed 7/],
    licence: { text: 'Apache-2.0', commercialUse: true },
    evaluation: SAMPLE_EVALUATION,
    card: { file: 'MODEL_CARD.md' },
  });
  t.match(
    (await loradrop(['models', 'inspect', join(dir, 'from-file')])).out,
    /^licence +CC BY-NC 4\.0\ncommercial use +forbidden$/m,
  );
  t.match(
    (await loradrop(['models', 'inspect', own])).out,
    /^evaluation\nTwo data sets were held out\.\nMeans[\s\S]*^sums +answer-nll +generated +2\.000 \(1\.875–2\.125\)/m,
  );
  t.match((await loradrop(['models', 'list', '--bundles-dir', dir])).out, /measured on 2 data sets/);
  const weights = (name: string) => readFile(join(dir, name, 'decoder.onnx.data'));
  const tuned = await loradrop([...synthetic, '--encoder', encoder, '--tune', '--out', join(dir, 'tuned')]);
  t.equal(tuned.code, 0, tuned.err);
  t.match(tuned.out, /^not tuned: a decoder this small computes every convolution directly$/m);
  const shown = (await loradrop(['models', 'inspect', join(dir, 'tuned')])).out;
  t.match(shown, /^plan +every convolution direct$/m);
  const drawn = await weights('small');
  t.ok(drawn.equals(await weights('own-encoder')) && drawn.equals(await weights('from-file')));
  const before = await readdir(dir);

  for (const [args, code, error] of [
    [['--synthetic', 'tiny'], 2, /two-minute/],
    [['--synthetic', 'small', '--base', 'qwen2.5-7b'], 2, /cannot be used with/],
    [['--synthetic', 'small', '--seed', '-1'], 2, /whole number/],
    [['--synthetic', 'small', '--tune', '--target', 'cuda'], 1, /--tune goes with --target cpu/],
    [[], 1, /--checkpoint or --synthetic/],
    [['--checkpoint', checkpoint, '--checkpoint-out', 'x', '--encoder', 'y'], 1, /goes with --synthetic/],
    [['--checkpoint', checkpoint, '--base', 'qwen2.5-7b'], 1, /--encoder/],
    [
      [...synthetic.slice(1), '--evaluation', join(dir, 'bad-evaluation.json')],
      1,
      /\/protocol: must be string/,
    ],
    [[...synthetic.slice(1), '--evaluation', join(dir, 'huge.json')], 1, /larger than 262144 bytes/],
    [[...synthetic.slice(1), '--card', join(dir, 'absent.md')], 1, /absent\.md cannot be read/],
    [[...synthetic.slice(1), '--card', join(dir, 'latin-1.md')], 1, /cannot be read as UTF-8/],
  ] as const) {
    const refused = await loradrop(['import', ...args, '--out', join(dir, 'refused')]);
    t.equal(refused.code, code, args.join(' '));
    t.match(refused.err, error);
  }
  t.same(await readdir(dir), before);
});

test('Ctrl-C during an import leaves nothing behind', async (t) => {
  const root = t.testdir({ bundles: {}, temporary: {} });
  const [parent, temporary] = [join(root, 'bundles'), join(root, 'temporary')];
  const args = ['import', '--synthetic', 'two-minute', '--out', join(parent, 'bundle')];
  const stop = new AbortController();
  let watching: Promise<void> | undefined;
  const { code, err } = await loradrop(args, { TMPDIR: temporary }, (child) => {
    child.once('exit', () => stop.abort());
    watching = signalOnceWeightsAreWritten(parent, child, stop.signal);
  });
  await watching;
  t.equal(code, 1);
  t.match(err, /generator [0-9.]+ [KM]iB of [0-9.]+ MiB/, 'it was at work, and said how far');
  t.match(err, /Interrupted: nothing was left behind\. \[canceled\]/);
  t.strictSame(await readdir(parent), []);
  t.strictSame(await readdir(temporary), []);
});

/** Sends SIGINT as soon as a megabyte of weights is below the directory. */
async function signalOnceWeightsAreWritten(
  directory: string,
  child: ChildProcess,
  signal: AbortSignal,
): Promise<void> {
  try {
    for await (const { filename } of watch(directory, { recursive: true, signal })) {
      if (!filename?.endsWith('decoder.onnx.data')) continue;
      const { size } = await stat(join(directory, filename));
      if (size < 1 << 20) continue;
      child.kill('SIGINT');
      return;
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}
