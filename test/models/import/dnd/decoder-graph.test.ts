import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { test } from 'tap';
import { openSafetensors } from '../../../../src/adapter/safetensors.ts';
import { fromF16Bits, toF16Bits } from '../../../../src/base/dtype.ts';
import { fillUniform, seededRandom } from '../../../../src/base/random.ts';
import { createGraphRunner } from '../../../../src/inference/graph-runner.ts';
import { KNOWN_BASES } from '../../../../src/lora/bases.ts';
import { tokenCount, tokenShape } from '../../../../src/lora/tensors.ts';
import { inferArchitecture } from '../../../../src/models/import/dnd/architecture.ts';
import { allConvolutions, type Convolution } from '../../../../src/models/import/dnd/convolutions.ts';
import {
  decoderGraph,
  decoderStageGraph,
  type GraphOptions,
} from '../../../../src/models/import/dnd/decoder-graph.ts';
import { storeDecoderWeights } from '../../../../src/models/import/dnd/store-decoder.ts';
import type { Precision } from '../../../../src/models/import/spectral/candidates.ts';
import type { ConvolutionForm } from '../../../../src/models/manifest.ts';
import { ExternalDataFile } from '../../../../src/onnx/external-data.ts';
import { inspectModel } from '../../../../src/onnx/inspect-model.ts';
import { type Numbers, project, type ReferenceDecoder, referenceTokens } from '../../reference-decoder.ts';
import { type DecoderShape, randomStateDict } from '../../small-bundle.ts';

const TOLERANCE = 1e-5;

/** Writes the whole decoder and its stages into a directory, from tensors in memory handed over in odd pieces. */
async function writeGraphs(
  directory: string,
  tensors: ReadonlyMap<string, Numbers>,
  {
    formOf,
    precision = 'f32',
    ...graphOptions
  }: GraphOptions & {
    formOf?: (convolution: Convolution) => ConvolutionForm;
    precision?: Precision;
  } = {},
) {
  const entries = [...tensors].map(([name, { shape }]) => ({ name, shape, dtype: 'F32' }));
  const { architecture, names } = inferArchitecture(entries);
  const forms = new Map(
    formOf ? allConvolutions(architecture).map((one) => [one.name, formOf(one)] as const) : [],
  );
  const options = { ...graphOptions, forms };
  const file = await ExternalDataFile.create(join(directory, 'decoder.onnx.data'));
  const { weights, errors } = await storeDecoderWeights(
    architecture,
    {
      entries,
      async *stream(name) {
        const values = Float32Array.from(tensors.get(name)!.values);
        // 1009 is prime: pieces end inside kernels.
        for (let at = 0; at < values.length; at += 1009) yield values.subarray(at, at + 1009);
      },
      async close() {},
    },
    names,
    file,
    { forms, precision, runner: createGraphRunner({ threads: 1 }) },
  );
  await file.close();
  await writeFile(join(directory, 'decoder.onnx'), decoderGraph(architecture, weights, options));
  const stages = architecture.features.length - 1;
  for (let index = 0; index < stages; index++) {
    await writeFile(
      join(directory, `stage-${index}.onnx`),
      decoderStageGraph(architecture, weights, index, options),
    );
  }
  return { architecture, stages, errors };
}

async function run(path: string, name: string, values: Float32Array, shape: readonly number[]) {
  const session = await InferenceSession.create(path, { intraOpNumThreads: 1 });
  try {
    const outputs = await session.run({ [name]: new Tensor('float32', values, shape) });
    const output = Object.values(outputs)[0]!;
    return { values: output.data as Float32Array, shape: output.dims };
  } finally {
    await session.release();
  }
}

async function runStages(directory: string, stages: number, values: Float32Array, shape: readonly number[]) {
  let x: { values: Float32Array; shape: readonly number[] } = { values, shape };
  for (let index = 0; index < stages; index++) {
    x = await run(join(directory, `stage-${index}.onnx`), 'x', x.values, x.shape);
  }
  return x.values;
}

/** Largest difference over largest magnitude, token by token; NaN anywhere gives NaN. */
function relativeDifference(actual: Float32Array, expected: Iterable<ArrayLike<number>>): number {
  let difference = 0;
  let magnitude = 0;
  let at = 0;
  for (const token of expected) {
    for (let i = 0; i < token.length; i++) {
      const apart = Math.abs(actual[at++]! - token[i]!);
      if (!(apart <= difference)) difference = apart;
      magnitude = Math.max(magnitude, Math.abs(token[i]!));
    }
  }
  return at === actual.length ? difference / magnitude : Number.NaN;
}

const bytesOf = (values: Float32Array) => Buffer.from(values.buffer, values.byteOffset, values.byteLength);

for (const name of ['decoder-small', 'decoder-projected']) {
  test(`${name}: the numbers of the published modules`, async (t) => {
    const golden = fileURLToPath(new URL(`../../../golden/${name}.safetensors`, import.meta.url));
    const file = await openSafetensors(golden);
    t.teardown(() => file.close());
    const read = (tensor: string) => file.read(tensor);
    const tensors = new Map<string, Numbers>();
    for (const { name: tensor, shape } of file.header.tensors) {
      if (!tensor.startsWith('golden.')) tensors.set(tensor, { shape, values: await read(tensor) });
    }
    const condition = await read('golden.condition');
    const expected = await read('golden.output');
    const directory = t.testdir();
    const { architecture, stages } = await writeGraphs(directory, tensors);
    const shape = file.header.tensors.find(({ name: tensor }) => tensor === 'golden.condition')!.shape;
    const whole = await run(join(directory, 'decoder.onnx'), 'condition', condition, shape);
    t.same(whole.shape, [1, ...architecture.features.at(-1)!]);
    t.ok(relativeDifference(whole.values, [expected]) < TOLERANCE);

    const reference: ReferenceDecoder = { ...architecture, tensors };
    t.ok(
      relativeDifference(expected, referenceTokens(reference, condition)) < TOLERANCE,
      'the reference too',
    );
    const cut = await runStages(directory, stages, condition, shape);
    // The runtime may merge the residual's addition into a convolution of the whole graph, which rounds differently.
    t.ok(relativeDifference(cut, [whole.values]) < 1e-6, 'and the stages');
    if (architecture.projection) {
      const projected = project(reference, Float64Array.from(condition));
      t.ok(relativeDifference(await read('golden.projected'), [projected]) < TOLERANCE, 'the projection');
    }
  });
}

// Real last layers behind trunks of a few prompts and positions; k and the order of lengths vary, so that every
// convolution is met with its kernel as stored and transposed.
const trunks: Record<string, Omit<DecoderShape, 'features'> & { trunk: DecoderShape['features'] }> = {
  'qwen2.5-0.5b': {
    kernel: 5,
    trunk: [
      [5, 6, 7],
      [9, 3, 4],
      [3, 2, 6],
    ],
  },
  'qwen2.5-1.5b': {
    kernel: 3,
    projection: [12, 6],
    trunk: [
      [3, 6, 5],
      [2, 4, 9],
    ],
  },
  'qwen2.5-vl-3b': {
    kernel: 3,
    trunk: [
      [3, 11, 5],
      [8, 4, 4],
      [2, 3, 5],
    ],
  },
  'qwen2.5-7b': {
    kernel: 3,
    projection: [18, 7],
    trunk: [
      [4, 7, 5],
      [2, 3, 4],
    ],
  },
};

for (const { alias, layout } of KNOWN_BASES.filter(({ alias }) => alias in trunks)) {
  test(`${alias}: small trunk, real tokens, against the float64 reference`, async (t) => {
    const { trunk, ...rest } = trunks[alias]!;
    const last = [tokenCount(layout), ...tokenShape(layout)] as [number, number, number];
    const shape: DecoderShape = { ...rest, features: [...trunk, last] };
    const tensors = randomStateDict(shape, 3);
    const [n, l, c] = shape.features[0]!;
    const sides = [1, n, shape.projection?.[0] ?? l, c];
    const condition = new Float32Array(sides.reduce((a, b) => a * b));
    fillUniform(seededRandom(4), condition, 0.7);
    const directory = t.testdir();
    const { architecture, stages } = await writeGraphs(directory, tensors);
    t.same(architecture.features, shape.features);
    const whole = await run(join(directory, 'decoder.onnx'), 'condition', condition, sides);
    t.same(whole.shape, [1, ...last]);
    const difference = relativeDifference(whole.values, referenceTokens({ ...shape, tensors }, condition));
    t.ok(difference < TOLERANCE, `relative difference ${difference.toExponential(1)}`);
    const cut = await runStages(directory, stages, condition, sides);
    t.ok(bytesOf(cut).equals(bytesOf(whole.values)), 'the stages give the same bytes as the whole');

    const spectra = join(directory, 'spectra');
    await mkdir(spectra);
    await writeGraphs(spectra, tensors, {
      formOf: ({ lengths, outputs }) => ({
        form: 'spectral',
        half: 0,
        tiles: [1, Math.ceil(lengths[1] / 16)],
        products: 4,
        blockChannels: Math.min(256, outputs),
      }),
    });
    const spectral = await run(join(spectra, 'decoder.onnx'), 'condition', condition, sides);
    const apart = relativeDifference(spectral.values, referenceTokens({ ...shape, tensors }, condition));
    t.ok(apart < TOLERANCE, `through spectra ${apart.toExponential(1)}`);
  });
}

test('two conditions in one batch give what each gives alone', async (t) => {
  const shape: DecoderShape = {
    kernel: 3,
    projection: [10, 6],
    features: [
      [3, 6, 5],
      [4, 5, 7],
      [9, 4, 6],
    ],
  };
  const directory = t.testdir();
  const { stages } = await writeGraphs(directory, randomStateDict(shape, 5));
  const both = new Float32Array(2 * 3 * 10 * 5);
  fillUniform(seededRandom(6), both, 1);
  const path = join(directory, 'decoder.onnx');
  const batch = await run(path, 'condition', both, [2, 3, 10, 5]);
  t.same(batch.shape, [2, 9, 4, 6]);
  const one = await run(path, 'condition', both.slice(0, 150), [1, 3, 10, 5]);
  const two = await run(path, 'condition', both.slice(150), [1, 3, 10, 5]);
  t.ok(relativeDifference(batch.values, [one.values, two.values]) < 1e-6);
  t.ok(relativeDifference(batch.values, [two.values, one.values]) > 0.1, 'and they differ');
  const cut = await runStages(directory, stages, both, [2, 3, 10, 5]);
  t.ok(relativeDifference(cut, [batch.values]) < 1e-6);
});

test('a kernel above the limit runs in slices of its output channels, with the same result', async (t) => {
  const shape: DecoderShape = {
    kernel: 3,
    features: [
      [3, 8, 5],
      [40, 8, 40],
      [70, 6, 8],
      [70, 6, 8],
    ],
  };
  const tensors = randomStateDict(shape, 8);
  const condition = new Float32Array(3 * 8 * 5);
  fillUniform(seededRandom(9), condition, 1);
  const directory = t.testdir({ whole: {}, sliced: {} });
  const [whole, sliced] = [join(directory, 'whole'), join(directory, 'sliced')];
  const { stages } = await writeGraphs(whole, tensors);
  // The largest kernel, 70 × 70 × 9 floats, takes three slices of at most 32 channels; small ones stay as they are.
  await writeGraphs(sliced, tensors, { maxKernelBytes: 32 * 70 * 9 * 4 });
  const isSliced = async (path: string) =>
    (await inspectModel(join(path, 'decoder.onnx'))).operators.has('Concat');
  t.strictSame([await isSliced(whole), await isSliced(sliced)], [false, true]);
  const expected = await run(join(whole, 'decoder.onnx'), 'condition', condition, [1, 3, 8, 5]);
  const actual = await run(join(sliced, 'decoder.onnx'), 'condition', condition, [1, 3, 8, 5]);
  t.same(actual.shape, expected.shape);
  t.ok(relativeDifference(actual.values, [expected.values]) < 1e-6);
  const cut = await runStages(sliced, stages, condition, [1, 3, 8, 5]);
  t.ok(relativeDifference(cut, [expected.values]) < 1e-6);
});

// Tiles of every kind: one that goes round, several that fit the axis or reach past its end, as many as there are outputs;
// blocks of channels that fill up and that do not.
const spectralForms: Record<string, (convolution: Convolution) => ConvolutionForm> = {
  'one tile an axis, three products': ({ outputs }) => ({
    form: 'spectral',
    half: 0,
    tiles: [1, 1],
    products: 3,
    blockChannels: outputs,
  }),
  'several tiles, four products, blocks of four': ({ lengths }) => ({
    form: 'spectral',
    half: 1,
    tiles: [Math.min(2, lengths[0]), Math.min(3, lengths[1])],
    products: 4,
    blockChannels: 4,
  }),
  'an output a tile, three products, blocks of three': ({ lengths }) => ({
    form: 'spectral',
    half: 0,
    tiles: [...lengths],
    products: 3,
    blockChannels: 3,
  }),
  'half of them direct': ({ name, lengths }) =>
    /conv1w|conv2h|layer1.linear2/.test(name)
      ? { form: 'direct' }
      : { form: 'spectral', half: 1, tiles: [1, Math.ceil(lengths[1] / 2)], products: 4, blockChannels: 5 },
};

for (const [title, formOf] of Object.entries(spectralForms)) {
  test(`spectral convolutions: ${title}`, async (t) => {
    // The last layer keeps its shape and has a residual; one axis is shorter than the kernel reaches.
    const shape: DecoderShape = {
      kernel: 5,
      projection: [10, 9],
      features: [
        [2, 9, 6],
        [4, 7, 8],
        [9, 6, 11],
        [9, 6, 11],
      ],
    };
    const tensors = randomStateDict(shape, 11);
    const condition = new Float32Array(2 * 10 * 6);
    fillUniform(seededRandom(12), condition, 1);
    const directory = t.testdir();
    const { stages, errors } = await writeGraphs(directory, tensors, { formOf });
    const whole = await run(join(directory, 'decoder.onnx'), 'condition', condition, [1, 2, 10, 6]);
    t.same(whole.shape, [1, 9, 6, 11]);
    const difference = relativeDifference(whole.values, referenceTokens({ ...shape, tensors }, condition));
    t.ok(difference < TOLERANCE, `relative difference ${difference.toExponential(1)}`);
    const cut = await runStages(directory, stages, condition, [1, 2, 10, 6]);
    t.ok(relativeDifference(cut, [whole.values]) < 1e-6);
    t.ok(errors.size > 0);
    for (const [name, error] of errors) t.ok(error > 0 && error < 1e-6, `${name} measured ${error}`);
  });
}

test('weights in half precision: what is stored decides, computing in float32 or in half', async (t) => {
  const shape: DecoderShape = {
    kernel: 3,
    projection: [10, 6],
    features: [
      [3, 6, 5],
      [40, 8, 40],
      [70, 6, 8],
    ],
  };
  const tensors = randomStateDict(shape, 13);
  const rounded = new Map(
    [...tensors].map(([name, { shape: sides, values }]) => {
      const isStoredWide = /norm|bias/.test(name);
      const half = () => fromF16Bits(toF16Bits(Float32Array.from(values)));
      return [name, { shape: sides, values: isStoredWide ? values : half() }];
    }),
  );
  const condition = new Float32Array(3 * 10 * 5);
  fillUniform(seededRandom(14), condition, 1);
  const exact = [...referenceTokens({ ...shape, tensors: rounded }, condition)];
  const decode = async (directory: string, options: Parameters<typeof writeGraphs>[2]) => {
    const { stages } = await writeGraphs(directory, tensors, { precision: 'f16', ...options });
    const { values } = await run(join(directory, 'decoder.onnx'), 'condition', condition, [1, 3, 10, 5]);
    t.ok(
      relativeDifference(await runStages(directory, stages, condition, [1, 3, 10, 5]), [values]) < 1e-3,
      'the stages too',
    );
    return relativeDifference(values, exact);
  };
  const directory = t.testdir({ stored: {}, sliced: {}, computed: {}, spectral: {} });
  const stored = await decode(join(directory, 'stored'), {});
  t.ok(stored < TOLERANCE, `exact for the rounded weights: ${stored}`);
  const sliced = await decode(join(directory, 'sliced'), { maxKernelBytes: 32 * 70 * 9 * 2 });
  t.ok(sliced < TOLERANCE, `in slices: ${sliced}`);
  const computed = await decode(join(directory, 'computed'), {
    computesInHalf: true,
    maxKernelBytes: 32 * 70 * 9 * 2,
  });
  t.ok(computed > 1e-5 && computed < 5e-3, `computed in half: ${computed}`);
  const spectral = await decode(join(directory, 'spectral'), {
    formOf: ({ outputs }) => ({
      form: 'spectral',
      half: 0,
      tiles: [1, 2],
      products: 4,
      blockChannels: Math.min(16, outputs),
    }),
  });
  t.ok(spectral > 1e-5 && spectral < 5e-3, `with spectra in half: ${spectral}`);
});

test('a number beyond the range of half precision is refused by its tensor', async (t) => {
  const shape: DecoderShape = {
    kernel: 3,
    features: [
      [3, 6, 5],
      [9, 4, 6],
    ],
  };
  const tensors = randomStateDict(shape, 15);
  const kernel = tensors.get('model.decoder.module_list.0.linear1.conv2h.weight')!;
  (kernel.values as Float32Array)[7] = 70_000;
  await t.rejects(writeGraphs(t.testdir(), tensors, { precision: 'f16' }), {
    code: 'checkpoint-invalid',
    message: /layer0.linear1.conv2h.weight holds numbers beyond the range of f16/,
  });
});
