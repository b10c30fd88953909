import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { type Test, test } from 'tap';
import { createByteLru } from '../../../../src/base/lru.ts';
import { openGenerator } from '../../../../src/inference/generator.ts';
import { createPooledConditionMaker, openPooledEncoder } from '../../../../src/inference/pooled-encoder.ts';
import { createRounding } from '../../../../src/inference/rounding.ts';
import { openTokenizer } from '../../../../src/inference/tokenizer.ts';
import { loraTensors } from '../../../../src/lora/tensors.ts';
import type { Bundle } from '../../../../src/models/bundle.ts';
import { importCheckpoint } from '../../../../src/models/import/import-checkpoint.ts';
import { openSyntheticT2l } from '../../../../src/models/import/t2l/open-synthetic.ts';
import { T2L_PRESETS } from '../../../../src/models/import/t2l/presets.ts';
import { openBundle } from '../../../../src/models/open.ts';
import { IMPORT_FACTS, writeEncoder } from '../../small-bundle.ts';
import { referenceMatrices } from './reference-hypernetwork.ts';
import { writeRotaryEncoder } from './rotary-encoder.ts';
import { importSmallT2l, T2L_BASE } from './small-bundle.ts';
import { SIZES, VARIANTS, writeT2lCheckpoint } from './small-checkpoint.ts';

const CPU = { provider: 'cpu', name: 'cpu', threads: 1 } as const;
const TOLERANCE = 1e-5;
const DESCRIPTION = '  Answer questions about school physics in one word ';
/** As the encoder is to read it. */
const FORMATTED = 'Answer questions about school physics in one word.';
const turn = async () => {};

/** The adapter's float32 numbers by tensor name, made in this very process. */
async function generate(bundle: Bundle, text: string): Promise<Map<string, Float32Array>> {
  const path = join(bundle.directory, bundle.manifest.tokenizer.file);
  const { tokenize, largestId } = await openTokenizer(path, bundle.manifest.condition);
  const encoder = await openPooledEncoder(bundle, CPU, { tokenBudget: 512, largestId });
  const makeConditions = createPooledConditionMaker({ bundle, encoder, tokenize, cache: createByteLru(0) });
  const generator = await openGenerator(bundle, CPU, createRounding({ threads: 1 }));
  const { signal } = new AbortController();
  const follow = { signal, turn, onProgress: () => {} };
  const embeddings = await makeConditions([text], follow);
  const value = await generator.run(embeddings.condition([text]), follow);
  const pieces: Buffer[] = [];
  await generator.write(value, { dtype: 'f32', turn, write: (bytes) => pieces.push(Buffer.from(bytes)) });
  await encoder.close();
  const { buffer, byteOffset } = Buffer.concat(pieces);
  const numbers = new Map<string, Float32Array>();
  let at = byteOffset;
  for (const { name, shape } of loraTensors(bundle.manifest.layout)) {
    const length = shape[0] * shape[1];
    numbers.set(name, new Float32Array(buffer.slice(at, at + 4 * length)));
    at += 4 * length;
  }
  return numbers;
}

/** The hidden state of the first token, by ONNX Runtime alone. */
async function firstHidden(encoderDirectory: string, text: string): Promise<Float32Array> {
  const { tokenize } = await openTokenizer(join(encoderDirectory, 'tokenizer.json'), {
    tokens: 64,
    padTokenId: 0,
  });
  const { ids, length } = tokenize(text);
  const row = (values: readonly number[]) =>
    new Tensor('int64', BigInt64Array.from(values.map(BigInt)), [1, length]);
  const own = Array.from(ids.subarray(0, length));
  const session = await InferenceSession.create(join(encoderDirectory, 'onnx', 'model.onnx'));
  const { last_hidden_state: hidden } = await session.run({
    input_ids: row(own),
    attention_mask: row(own.map(() => 1)),
    token_type_ids: row(own.map(() => 0)),
  });
  await session.release();
  return (hidden!.data as Float32Array).slice(0, SIZES.width);
}

function checkAgainst(t: Test, made: ReadonlyMap<string, Float32Array>, expected: Map<string, Float64Array>) {
  const { layers } = SIZES;
  t.equal(made.size, 2 * 2 * layers);
  for (const [key, values] of expected) {
    const [module, side] = key.split('.');
    const size = values.length / layers;
    for (let layer = 0; layer < layers; layer++) {
      const name = `base_model.model.model.layers.${layer}.self_attn.${module}.lora_${side}.weight`;
      const own = values.subarray(layer * size, (layer + 1) * size);
      const numbers = made.get(name)!;
      const largest = own.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      const apart = own.reduce((most, value, i) => Math.max(most, Math.abs(value - numbers[i]!)), 0);
      t.ok(apart <= TOLERANCE * largest, `${name}: ${apart / largest}`);
    }
  }
}

test('every variant, from the file of torch.save to the numbers of the adapter', async (t) => {
  const encoderDirectory = join(t.testdir({}), 'gte');
  await writeRotaryEncoder(encoderDirectory, SIZES.width);
  const hidden = await firstHidden(encoderDirectory, FORMATTED);
  for (const [index, variant] of Object.keys(VARIANTS).entries()) {
    await t.test(variant, async (t) => {
      // Both orders of modules, in turn.
      const order = index % 2 === 0 ? (['v_proj', 'q_proj'] as const) : (['q_proj', 'v_proj'] as const);
      const { bundle, reference, notes } = await importSmallT2l(t.testdir({}), {
        variant,
        order,
        encoderDirectory,
      });
      t.match(notes[0], `Order of modules: ${order.join(', ')}, that of the heads`);
      t.same(bundle.manifest.t2l, { moduleOrder: order.map((name) => `self_attn.${name}`) });
      checkAgainst(t, await generate(bundle, DESCRIPTION), referenceMatrices(reference, hidden));
    });
  }
});

test('what a bundle says of itself', async (t) => {
  const { bundle } = await importSmallT2l(t.testdir({}));
  const { family, layout, condition, generator, dnd } = bundle.manifest;
  t.equal(family, 't2l');
  t.equal(dnd, undefined);
  t.same(layout, {
    rank: SIZES.rank,
    alpha: 8,
    rsLora: true,
    layers: SIZES.layers,
    layerPath: 'model.layers',
    modules: [T2L_BASE.layout.modules[0], T2L_BASE.layout.modules[2]],
  });
  t.same(condition, {
    prompts: 1,
    tokens: 8192,
    width: SIZES.width,
    encoderTokens: 8192,
    padTokenId: 0,
    pooling: 'first-token',
  });
  t.match(generator, {
    graphs: [{ file: 'hypernetwork.onnx' }],
    stages: [],
    matrices: [{ file: 'matrices.00.onnx' }, { file: 'matrices.01.onnx' }],
    precision: 'f32',
  });
  t.same((await openBundle(bundle.directory)).digest, bundle.digest);
});

test('an order that was given, and adapters without rsLoRA', async (t) => {
  const root = t.testdir({});
  const { bundle, notes } = await importSmallT2l(root, { moduleOrder: ['v_proj', 'q_proj'] });
  t.match(notes[0], /v_proj, q_proj, as given/);
  t.same(bundle.manifest.t2l!.moduleOrder, ['self_attn.v_proj', 'self_attn.q_proj']);
  t.same(
    bundle.manifest.layout.modules.map(({ path }) => path),
    ['self_attn.q_proj', 'self_attn.v_proj'],
    'the order of the file is the base’s',
  );
});

test('checkpoints that do not fit are refused, and nothing is left behind', async (t) => {
  const root = t.testdir({});
  const { checkpoint, encoderDirectory, reference } = await importSmallT2l(root);
  const again = (change: object) =>
    importCheckpoint({
      ...IMPORT_FACTS,
      checkpoint,
      encoderDirectory,
      base: T2L_BASE,
      out: join(root, 'refused'),
      ...change,
    });
  const { base: _, ...without } = { base: undefined };
  await t.rejects(again({ ...without, base: undefined }), {
    code: 'checkpoint-invalid',
    message: /no base that is known here \("example\/tiny"\)\. Give --base or --layout/,
  });
  await t.rejects(again({ base: 'gemma-2-2b' }), { code: 'checkpoint-invalid', message: /has 26/ });
  const { layout } = T2L_BASE;
  const noQuery = { ...T2L_BASE, layout: { ...layout, modules: layout.modules.slice(1) } };
  await t.rejects(again({ base: noQuery }), { code: 'checkpoint-invalid', message: /targets q_proj/ });
  const narrow = join(root, 'narrow');
  await mkdir(narrow);
  await writeEncoder(narrow, 8);
  await t.rejects(again({ encoderDirectory: narrow }), { code: 'encoder-invalid', message: /width of 24/ });
  const infinite = new Map(reference.tensors);
  const bias = infinite.get('mixer.1.bias')!;
  infinite.set('mixer.1.bias', { ...bias, values: Float32Array.from(bias.values).fill(Number.NaN) });
  await writeT2lCheckpoint(checkpoint, infinite, VARIANTS['sft']!.args);
  await t.rejects(again({}), {
    code: 'checkpoint-invalid',
    message: /mixer\.1\.bias holds numbers that are not/,
  });
  await rm(join(checkpoint, 'args.yaml'));
  await t.rejects(again({}), { code: 'checkpoint-invalid', message: /needs args\.yaml/ });
  t.same((await readdir(root)).sort(), ['bundles', 'checkpoint', 'gte', 'narrow']);
});

test('random weights of a size: the same bytes each time, amplitudes of an adapter, another for each description', async (t) => {
  const root = t.testdir({});
  const preset = T2L_PRESETS.find(({ name }) => name === 't2l-small')!;
  const make = async (name: string) => {
    await using source = await openSyntheticT2l(preset, { seed: 5 });
    return await importCheckpoint({ ...source, id: 'small', out: join(root, name) });
  };
  const bundle = await make('one');
  t.equal((await make('two')).digest, bundle.digest);
  t.match(bundle.manifest, { trained: false, base: { id: 'HuggingFaceTB/SmolLM2-135M-Instruct' } });
  const [one, other] = [await generate(bundle, 'Add numbers'), await generate(bundle, 'Name rivers')];
  const deviation = (values: Float32Array) =>
    Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length);
  for (const [name, values] of one) {
    const [low, high] = name.includes('lora_A') ? [5e-3, 2e-2] : [1e-4, 1e-2];
    t.ok(deviation(values) > low && deviation(values) < high, `${name}: ${deviation(values)}`);
    const apart = values.map((value, i) => value - other.get(name)![i]!);
    t.ok(deviation(apart) > 1e-5, `${name} differs`);
  }
});
