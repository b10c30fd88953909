import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { test } from 'tap';
import { fillUniform, seededRandom } from '../../../src/base/random.ts';
import { openEncoder } from '../../../src/inference/encoder.ts';
import { createGraphRunner } from '../../../src/inference/graph-runner.ts';
import { importCheckpoint } from '../../../src/models/import/import-checkpoint.ts';
import type { ImportProgress } from '../../../src/models/import/import-options.ts';
import { openBundle } from '../../../src/models/open.ts';
import { editModel } from '../../../src/onnx/schema.ts';
import { referenceTokens } from '../reference-decoder.ts';
import { SAMPLE_EVALUATION } from '../sample-evaluation.ts';
import {
  type DecoderShape,
  importSmallBundle,
  TINY_BASE,
  TINY_DECODER,
  writeCheckpoint,
  writeEncoder,
} from '../small-bundle.ts';
import { zipEntries } from './checkpoint/torch/zip-entries.ts';

const fixtures = join(import.meta.dirname, 'checkpoint', 'fixtures');

/** What a failure must match. */
type Failure = { code: string; message?: RegExp; fields?: { pointer: string }[] } | { name: string };

test('a checkpoint and an encoder become a bundle that opens and runs', async (t) => {
  const root = t.testdir();
  const progress: ImportProgress[] = [];
  const shape = { ...TINY_DECODER, projection: [10, 6] as const };
  const { bundle, tensors, options } = await importSmallBundle(root, shape, {
    title: 'Tiny',
    version: '2',
    prompts: 3,
    promptTokens: 10,
    onProgress: (step) => progress.push(step),
  });
  t.same(await openBundle(options.out), bundle);
  const { manifest } = bundle;
  t.match(manifest, {
    id: 'tiny',
    title: 'Tiny',
    version: '2',
    trained: false,
    base: { id: 'example/tiny', architecture: 'llama' },
    layout: TINY_BASE.layout,
    condition: {
      prompts: 3,
      tokens: 10,
      width: 8,
      encoderTokens: 512,
      padTokenId: 0,
      pooling: 'none',
      fullyMaskedAttention: 'zero',
    },
    encoder: { maxBatch: 32, output: 'last_hidden_state' },
    generator: { precision: 'f32' },
    dnd: { kernel: 3, features: shape.features, lengthProjection: true },
  });
  const elements = [...tensors.values()].reduce((sum, { values }) => sum + values.length, 0);
  t.equal(manifest.generator.parameters, elements);
  t.equal(manifest.generator.stages.length, 2);
  t.same(
    (await readdir(options.out)).sort(),
    ['bundle.json', ...manifest.files.map(({ name }) => name)].sort(),
    'the directory holds what the manifest lists and nothing else',
  );
  const listed = manifest.files.reduce((sum, { bytes }) => sum + bytes, 0);
  const ends = new Map(progress.map(({ step, doneBytes, totalBytes }) => [step, [doneBytes, totalBytes]]));
  t.strictSame(
    [...ends],
    [
      ['generator', [elements * 4, elements * 4]],
      ['encoder', [0, 0]],
      ['digests', [listed, listed]],
      ['verification', [listed, listed]],
    ],
    'each step reaches its total',
  );
  t.equal((await stat(options.out)).mode & 0o055, 0o055, 'other users may read it');

  const session = await InferenceSession.create(join(options.out, manifest.generator.graphs[0]!.file));
  t.teardown(() => session.release());
  const condition = new Float32Array(3 * 10 * 8);
  fillUniform(seededRandom(2), condition, 1);
  const { tokens } = await session.run({ condition: new Tensor('float32', condition, [1, 3, 10, 8]) });
  const expected = [...referenceTokens({ ...shape, tensors }, condition)].flatMap((token) => [...token]);
  const actual = tokens!.data as Float32Array;
  const magnitude = Math.max(...expected.map(Math.abs));
  t.ok(expected.every((value, at) => Math.abs(value - actual[at]!) < 1e-5 * magnitude));
});

test('the same import gives the same bytes, from one file or from shards, whatever the wrapper', async (t) => {
  const root = t.testdir();
  const { bundle, tensors, options } = await importSmallBundle(root);
  const shards = join(root, 'shards');
  await mkdir(shards);
  const named = [...tensors].map(([name, numbers]) => [`module.${name}`, numbers] as const);
  await writeCheckpoint(join(shards, 'a.safetensors'), new Map(named.slice(0, 7)));
  await writeCheckpoint(join(shards, 'b.safetensors'), new Map(named.slice(7)));
  const weightMap = Object.fromEntries(
    named.map(([name], at) => [name, at < 7 ? 'a.safetensors' : 'b.safetensors']),
  );
  const checkpoint = join(shards, 'model.safetensors.index.json');
  await writeFile(checkpoint, JSON.stringify({ metadata: {}, weight_map: weightMap }));
  const again = await importCheckpoint({ ...options, checkpoint, out: join(root, 'again') });
  t.equal(again.digest, bundle.digest);
});

test('an evaluation and a model card go into the bundle', async (t) => {
  const card = '# Tiny\n\nRandom numbers, für Tests.\n';
  const { bundle } = await importSmallBundle(t.testdir(), TINY_DECODER, {
    card,
    evaluation: SAMPLE_EVALUATION,
  });
  const { manifest, directory } = bundle;
  t.match(manifest, { card: { file: 'MODEL_CARD.md' }, evaluation: SAMPLE_EVALUATION });
  t.equal(await readFile(join(directory, 'MODEL_CARD.md'), 'utf8'), card);
  t.ok(manifest.files.some(({ name, bytes }) => name === 'MODEL_CARD.md' && bytes === card.length + 1));
  t.same(await openBundle(directory), bundle);
});

test('half formats become float32 exactly', async (t) => {
  const root = t.testdir();
  const { options, tensors } = await importSmallBundle(root);
  const dataOf = (out: string) => readFile(join(out, 'decoder.onnx.data'));
  for (const dtype of ['bf16', 'f16'] as const) {
    const checkpoint = join(root, `${dtype}.safetensors`);
    await writeCheckpoint(checkpoint, tensors, dtype);
    const once = await importCheckpoint({ ...options, checkpoint, out: join(root, dtype) });
    t.notSame(await dataOf(once.directory), await dataOf(options.out), `${dtype} rounds`);
    const [data, exact] = [await dataOf(once.directory), await dataOf(options.out)];
    const values = new Float32Array(data.buffer, data.byteOffset, data.length / 4);
    const wanted = new Float32Array(exact.buffer, exact.byteOffset, exact.length / 4);
    const step = dtype === 'bf16' ? 2 ** -8 : 2 ** -11;
    t.ok(
      values.every((value, at) => Math.abs(value - wanted[at]!) <= Math.abs(wanted[at]!) * step + 2 ** -24),
    );
  }
});

test('weights that are float16 give the same bits for a CPU, whichever they are stored as', async (t) => {
  const root = t.testdir();
  const shape = { ...TINY_DECODER, projection: [10, 6] as const };
  const { options, tensors } = await importSmallBundle(root, shape);
  const checkpoint = join(root, 'f16.safetensors');
  await writeCheckpoint(checkpoint, tensors, 'f16');
  const optimise = { memoryBytes: 2 ** 30, runner: createGraphRunner({ threads: 1 }) };
  const condition = new Float32Array(3 * 10 * 8);
  fillUniform(seededRandom(2), condition, 1);
  const decoded = async (precision: 'f32' | 'f16') => {
    const out = join(root, precision);
    const { manifest } = await importCheckpoint({ ...options, checkpoint, precision, optimise, out });
    const session = await InferenceSession.create(join(out, manifest.generator.graphs[0]!.file));
    const { tokens } = await session.run({ condition: new Tensor('float32', condition, [1, 3, 10, 8]) });
    await session.release();
    const bytes = manifest.dnd!.plan.reduce((sum, { weightBytes }) => sum + weightBytes, 0);
    return { bytes, bits: Buffer.from((tokens!.data as Float32Array).slice().buffer) };
  };
  const [single, half] = [await decoded('f32'), await decoded('f16')];
  t.equal(2 * half.bytes, single.bytes, 'half precision is what they are stored in');
  t.ok(half.bits.equals(single.bits), 'and not what they are computed in');
});

test('an import that cannot end well leaves nothing behind', async (t) => {
  const root = t.testdir();
  const { options, tensors } = await importSmallBundle(root);
  const out = join(root, 'failed', 'bundle');
  const write = async (name: string, edit: (copy: typeof tensors) => void, dtype?: 'f16') => {
    const copy = new Map(tensors);
    edit(copy);
    await writeCheckpoint(join(root, name), copy, dtype);
    return join(root, name);
  };
  const layer1 = 'model.decoder.module_list.1';
  const odd = join(root, 'odd');
  await writeEncoder(odd, 8);
  await writeFile(join(odd, 'config.json'), '{"max_position_embeddings": 4}');
  const narrow = join(root, 'narrow');
  await writeEncoder(narrow, 7);
  const text = join(root, 'text.safetensors');
  await writeFile(text, 'not a checkpoint');
  const escaping = join(root, 'escaping.index.json');
  await writeFile(escaping, JSON.stringify({ weight_map: { a: '../checkpoint.safetensors' } }));
  const occupied = join(root, 'bundles');
  const controller = new AbortController();
  const missing = await write('missing', (copy) => copy.delete(`${layer1}.linear2.bias`));
  const reshaped = await write('reshaped', (copy) =>
    copy.set(`${layer1}.linear1.bias`, { shape: [4, 5], values: new Float32Array(20) }),
  );
  const infinite = join(root, 'infinite');
  const bytes = await readFile(options.checkpoint);
  // The last number of the file, a kernel of the last layer, becomes infinity.
  bytes.writeFloatLE(Number.POSITIVE_INFINITY, bytes.length - 4);
  await writeFile(infinite, bytes);

  const table: [string, Partial<typeof options>, Failure][] = [
    [
      'a tensor is missing',
      { checkpoint: missing },
      { code: 'checkpoint-invalid', message: /linear2\.bias is missing/ },
    ],
    [
      'a shape is wrong',
      { checkpoint: reshaped },
      { code: 'checkpoint-invalid', message: /conv1w\.weight is/ },
    ],
    [
      'a number is infinite',
      { checkpoint: infinite },
      { code: 'checkpoint-invalid', message: /linear2\.weight holds numbers that are not finite/ },
    ],
    ['the file is text', { checkpoint: text }, { code: 'checkpoint-invalid', message: /cannot be read/ }],
    [
      'there is no file',
      { checkpoint: join(root, 'nowhere') },
      { code: 'checkpoint-invalid', message: /ENOENT/ },
    ],
    [
      'a shard lies elsewhere',
      { checkpoint: escaping },
      { code: 'checkpoint-invalid', message: /plain file names/ },
    ],
    [
      'the layout is of another base',
      { base: 'smollm2-135m' },
      { code: 'checkpoint-invalid', message: /\(9, 4, 6\).*\(1590, 10, 194\)/ },
    ],
    [
      'the base is unknown',
      { base: 'gpt-2' },
      { code: 'checkpoint-invalid', message: /no known base model/ },
    ],
    [
      'the layout does not fit itself',
      { base: { ...TINY_BASE, layout: { ...TINY_BASE.layout, chunkWidth: 6 } } },
      { code: 'layout-invalid' },
    ],
    [
      'other prompts are believed',
      { prompts: 4 },
      { code: 'checkpoint-invalid', message: /3 prompts a condition, not 4/ },
    ],
    [
      'another length is believed',
      { promptTokens: 7 },
      { code: 'checkpoint-invalid', message: /6 tokens a prompt, not 7/ },
    ],
    [
      'the encoder has another width',
      { encoderDirectory: narrow },
      { code: 'encoder-invalid', message: /7 wide/ },
    ],
    [
      'there is no encoder',
      { encoderDirectory: root },
      { code: 'encoder-invalid', message: /neither model\.onnx/ },
    ],
    [
      'slices do not come out even',
      { encoderDirectory: odd },
      { code: 'checkpoint-invalid', message: /6 tokens cannot be cut into slices of 4/ },
    ],
    ['the id is no id', { id: 'No Id' }, { code: 'bundle-invalid', fields: [{ pointer: '/id' }] }],
    ['the directory is taken', { out: occupied }, { code: 'checkpoint-invalid', message: /not empty/ }],
    ['the directory is a file', { out: text }, { code: 'checkpoint-invalid', message: /no directory/ }],
    ['it is aborted before it starts', { signal: AbortSignal.abort() }, { name: 'AbortError' }],
    [
      'it is aborted while weights are copied',
      { signal: controller.signal, onProgress: () => controller.abort() },
      { name: 'AbortError' },
    ],
  ];
  const before = await readdir(occupied);
  for (const [what, change, error] of table) {
    await t.rejects(importCheckpoint({ ...options, out, ...change }), error, what);
  }
  t.same(await readdir(join(root, 'failed')), []);
  t.same(await readdir(occupied), before);
});

test('a checkpoint of PyTorch gives the same bundle as its numbers in safetensors', async (t) => {
  const root = t.testdir();
  const { options } = await importSmallBundle(root);
  const from = async (name: string) => {
    const out = join(root, name);
    const { digest } = await importCheckpoint({ ...options, checkpoint: join(fixtures, name), out });
    return digest;
  };
  const digest = await from('decoder.safetensors');
  for (const name of ['decoder.pth', 'decoder-legacy.pth', 'decoder-training.pth']) {
    t.equal(await from(name), digest, name);
  }
  for (const name of ['decoder-f16', 'decoder-bf16']) {
    t.equal(await from(`${name}.pth`), await from(`${name}.safetensors`), name);
  }
});

test('a checkpoint of PyTorch that does not add up is refused, and nothing is left behind', async (t) => {
  const root = t.testdir();
  const { options } = await importSmallBundle(root);
  const out = join(root, 'failed', 'bundle');
  const good = await readFile(join(fixtures, 'decoder.pth'), 'latin1');
  const layer1 = 'model.decoder.module_list.1.';
  /** Replaces what is there once, without moving anything. */
  const replaced = (from: string | RegExp, to: string) => {
    const parts = good.split(from);
    if (parts.length !== 2) throw new Error(`${from} is not there once`);
    const text = parts.join(to);
    if (text.length !== good.length) throw new Error(`${to} has another length`);
    return text;
  };
  /** Gives another shape to the view that a tensor is; sizes below 256 take two bytes each. */
  const reshaped = (name: string, from: readonly number[], to: readonly number[]) => {
    const at = good.indexOf(name);
    const opcodes = (shape: readonly number[]) =>
      shape.map((side) => `K${String.fromCharCode(side)}`).join('');
    const rest = good.slice(at);
    const sides = rest.indexOf(opcodes(from));
    if (at < 0 || sides < 0 || sides > 200) throw new Error(`${name} is not there with this shape`);
    return good.slice(0, at + sides) + opcodes(to) + rest.slice(sides + opcodes(to).length);
  };
  const storage = zipEntries(Buffer.from(good, 'latin1')).get('data/19')!;
  const withNumber = (bits: string) => good.slice(0, storage.start) + bits + good.slice(storage.start + 4);
  const table: [string, string, RegExp][] = [
    [
      'a tensor is missing',
      replaced(`${layer1}linear2.bias`, `${layer1}linear2.bia5`),
      /Tensor model\.decoder\.module_list\.1\.linear2\.bias is missing/,
    ],
    [
      'an unknown tensor is there',
      replaced('criterion_weight', 'Criterion_weight'),
      /1 unexpected tensors: Criterion_weight/,
    ],
    [
      'the chain is broken',
      reshaped(`${layer1}linear1.norm.weight`, [5, 7], [5, 6]),
      /chain breaks at layer 1: it takes \(4, 5, 6\), but gets \(4, 5, 7\)/,
    ],
    [
      'a kernel is even',
      reshaped('model.decoder.module_list.0.linear2.weight', [4, 3, 3, 3], [4, 3, 2, 2]),
      /kernel is 2 wide; it must be odd/,
    ],
    [
      'a tensor reaches beyond its storage',
      reshaped(`${layer1}linear1.norm.bias`, [5, 7], [6, 7]),
      /^broken\.pth cannot be read: Tensor .*1\.linear1\.norm\.bias of shape \[6, 7\] reaches beyond its storage of 35/,
    ],
    [
      'a weight is not a number',
      withNumber('\0\0\xc0\x7f'),
      /linear2\.bias holds numbers that are not finite/,
    ],
    ['a weight is infinite', withNumber('\0\0\x80\xff'), /linear2\.bias holds numbers that are not finite/],
    [
      'it is cut off',
      good.slice(0, -1000),
      /^broken\.pth cannot be read: The zip archive of \d+ bytes is damaged, cut off/,
    ],
    ['it runs something', await readFile(join(fixtures, 'attack.pth'), 'latin1'), /asks for posix\.system/],
  ];
  const checkpoint = join(root, 'broken.pth');
  for (const [what, bytes, message] of table) {
    await writeFile(checkpoint, bytes, 'latin1');
    await t.rejects(
      importCheckpoint({ ...options, checkpoint, out }),
      { code: 'checkpoint-invalid', message },
      what,
    );
    t.same(await readdir(join(root, 'failed')), [], `${what}: nothing is left`);
  }
  await t.rejects(
    importCheckpoint({ ...options, checkpoint: join(fixtures, 'decoder.pth'), base: 'smollm2-135m', out }),
    {
      code: 'checkpoint-invalid',
      message: /makes \(9, 4, 6\), the base model's layout has \(1590, 10, 194\)/,
    },
  );
  t.same(await readdir(join(root, 'failed')), []);
});

test('what a killed import left goes a day later, with the next import to the same place', async (t) => {
  const root = t.testdir({ '.a.importing_1': { part: '' }, '.ab.importing_1': {}, other: {} });
  const { options } = await importSmallBundle(join(root, 'other'));
  const importAt = (hours: number) =>
    importCheckpoint({ ...options, out: join(root, 'a'), now: () => Date.now() + hours * 3_600_000 });
  await importAt(23);
  t.same((await readdir(root)).sort(), ['.a.importing_1', '.ab.importing_1', 'a', 'other']);
  await rm(join(root, 'a'), { recursive: true });
  await importAt(25);
  t.same((await readdir(root)).sort(), ['.ab.importing_1', 'a', 'other']);
});

test('of two imports to one place the first wins whole, and the other says so', async (t) => {
  const root = t.testdir();
  const { options } = await importSmallBundle(root);
  const out = join(root, 'contended', 'bundle');
  const results = await Promise.allSettled([1, 2, 3].map(() => importCheckpoint({ ...options, out })));
  t.equal(results.filter(({ status }) => status === 'fulfilled').length, 1);
  for (const result of results) {
    if (result.status === 'rejected') t.match(result.reason, { code: 'checkpoint-invalid' });
  }
  t.same(await readdir(join(root, 'contended')), ['bundle']);
  await openBundle(out);
});

test('prompts longer than a slice get the wished fully masked case, written into any encoder', async (t) => {
  const root = t.testdir();
  const { options, bundle } = await importSmallBundle(root);
  const original = await readFile(join(options.encoderDirectory, 'model.onnx'));
  const single = await readFile(join(bundle.directory, 'encoder.onnx'));
  t.notOk(single.includes('fully-masked'), 'one slice: the case does not arise');
  t.equal(bundle.manifest.encoder.keyBlock, 32, 'and attention looks at the keys that prompts have');
  await writeFile(join(options.encoderDirectory, 'config.json'), '{"max_position_embeddings": 3}');
  for (const fullyMaskedAttention of ['zero', 'uniform'] as const) {
    const out = join(root, fullyMaskedAttention);
    const sliced = await importCheckpoint({ ...options, out, fullyMaskedAttention });
    t.match(sliced.manifest.condition, { encoderTokens: 3, fullyMaskedAttention });
    // Opening it tests by a run that the graph keeps the manifest's word.
    const device = { provider: 'cpu', name: 'cpu', threads: 1 } as const;
    const encoder = await openEncoder(sliced, device, { tokenBudget: 6 });
    t.equal(encoder.padded.length, 3 * 8);
  }

  const fused = join(root, 'fused');
  await mkdir(fused);
  for (const name of ['config.json', 'tokenizer.json', 'encoder.onnx.data']) {
    await writeFile(join(fused, name), await readFile(join(options.encoderDirectory, name)));
  }
  const model = editModel(original, ({ graph }) => {
    for (const node of graph!.node!) if (node.opType === 'Softmax') node.opType = 'Attention';
  });
  await writeFile(join(fused, 'model.onnx'), model);
  const refused = importCheckpoint({ ...options, encoderDirectory: fused, out: join(root, 'refused') });
  await t.rejects(refused, { code: 'encoder-invalid', message: /in one operator, Attention/ });
});

test('an encoder may not take the name of a file of ours', async (t) => {
  const root = t.testdir();
  const encoderDirectory = join(root, 'clash');
  const { options } = await importSmallBundle(root);
  await mkdir(encoderDirectory);
  const model = await readFile(join(options.encoderDirectory, 'model.onnx'));
  // Both names have 17 letters, so the file stays a model.
  const renamed = Buffer.from(
    model.toString('latin1').replaceAll('encoder.onnx.data', 'decoder.onnx.data'),
    'latin1',
  );
  await writeFile(join(encoderDirectory, 'model.onnx'), renamed);
  for (const [from, to] of [
    ['tokenizer.json', 'tokenizer.json'],
    ['encoder.onnx.data', 'decoder.onnx.data'],
  ] as const) {
    await writeFile(join(encoderDirectory, to), await readFile(join(options.encoderDirectory, from)));
  }
  await t.rejects(importCheckpoint({ ...options, encoderDirectory, out: join(root, 'out') }), {
    code: 'encoder-invalid',
    message: /a name the bundle needs: decoder\.onnx\.data/,
  });
});

test('a decoder for a CPU is planned by its size, and its plan and errors are in the manifest', async (t) => {
  const shape: DecoderShape = {
    kernel: 9,
    features: [
      [48, 48, 8],
      [9, 48, 48],
      [9, 4, 6],
    ],
  };
  const optimise = { memoryBytes: 2 ** 30, runner: createGraphRunner({ threads: 1 }) };
  const directory = t.testdir({ small: {}, large: {}, half: {} });
  const small = await importSmallBundle(join(directory, 'small'), shape, { optimise });
  t.ok(
    small.bundle.manifest.dnd!.plan.every(({ form }) => form.form === 'direct'),
    'a decode that takes no time stays as it is',
  );
  for (const [name, precision, limit] of [
    ['large', 'f32', 1e-5],
    ['half', 'f16', 5e-3],
  ] as const) {
    const { bundle, tensors } = await importSmallBundle(join(directory, name), shape, {
      precision,
      optimise: { ...optimise, fromMultiplyAdds: 0 },
    });
    const { stages, multiplyAdds } = bundle.manifest.generator;
    const { plan, tuned } = bundle.manifest.dnd!;
    t.equal(tuned, undefined);
    const spectral = plan.filter(({ form }) => form.form === 'spectral');
    t.ok(spectral.length > 0 && spectral.length < plan.length);
    t.ok(spectral.every(({ error }) => error! > 0 && error! < limit));
    t.ok(stages.reduce((sum, stage) => sum + stage.multiplyAdds, 0) < multiplyAdds);

    const session = await InferenceSession.create(join(bundle.directory, 'decoder.onnx'));
    const condition = new Float32Array(48 * 48 * 8);
    fillUniform(seededRandom(2), condition, 1);
    const { tokens } = await session.run({ condition: new Tensor('float32', condition, [1, 48, 48, 8]) });
    await session.release();
    const expected = [...referenceTokens({ ...shape, tensors }, condition)].flatMap((token) => [...token]);
    const magnitude = Math.max(...expected.map(Math.abs));
    const actual = tokens!.data as Float32Array;
    const difference = Math.max(...expected.map((value, at) => Math.abs(value - actual[at]!)));
    t.ok(difference < limit * magnitude, `${name}: ${difference / magnitude}`);
  }
});
