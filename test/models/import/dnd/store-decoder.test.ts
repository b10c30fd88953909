import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { test } from 'tap';
import { fillUniform, seededRandom } from '../../../../src/base/random.ts';
import { createGraphRunner } from '../../../../src/inference/graph-runner.ts';
import type { GraphRunner } from '../../../../src/models/graph-runner.ts';
import { inferArchitecture } from '../../../../src/models/import/dnd/architecture.ts';
import { allConvolutions, type Convolution } from '../../../../src/models/import/dnd/convolutions.ts';
import { decoderGraph, rowsName, spectraName } from '../../../../src/models/import/dnd/decoder-graph.ts';
import { type StoreOptions, storeDecoderWeights } from '../../../../src/models/import/dnd/store-decoder.ts';
import { spectraShape, tilingsOf } from '../../../../src/models/import/spectral/candidates.ts';
import { kernelSpectra } from '../../../../src/models/import/spectral/spectral.ts';
import type { SpectralForm } from '../../../../src/models/manifest.ts';
import { ExternalDataFile, type ExternalTensor } from '../../../../src/onnx/external-data.ts';
import { type Numbers, referenceTokens } from '../../reference-decoder.ts';
import { type DecoderShape, randomStateDict } from '../../small-bundle.ts';

/** Kernels of nine taps an axis over axes of one to six rows: many taps only ever meet padding. */
const SHORT_AXES: DecoderShape = {
  kernel: 9,
  features: [
    [2, 6, 3],
    [4, 1, 5],
    [3, 4, 2],
  ],
};

const SHAPE: DecoderShape = {
  kernel: 3,
  features: [
    [3, 6, 8],
    [4, 5, 7],
  ],
};

/** Stores a decoder whose numbers come in pieces that end inside kernels, and reads back what was stored. */
async function store(
  path: string,
  tensors: ReadonlyMap<string, Numbers>,
  options: StoreOptions & { onTensor?: (name: string) => void } = {},
) {
  const entries = [...tensors].map(([name, { shape }]) => ({ name, shape, dtype: 'F32' }));
  const { architecture, names } = inferArchitecture(entries);
  const file = await ExternalDataFile.create(path);
  const stateDict = {
    entries,
    async *stream(name: string) {
      options.onTensor?.(name);
      const values = Float32Array.from(tensors.get(name)!.values);
      for (let at = 0; at < values.length; at += 101) yield values.subarray(at, at + 101);
    },
    async close() {},
  };
  try {
    const stored = await storeDecoderWeights(architecture, stateDict, names, file, options);
    await file.finish();
    const data = await readFile(path);
    const read = ({ offsetBytes, bytes }: ExternalTensor) =>
      new Float32Array(
        data.buffer.slice(data.byteOffset + offsetBytes, data.byteOffset + offsetBytes + bytes),
      );
    return { architecture, ...stored, read };
  } finally {
    await file.close();
  }
}

/** The published name of a kernel. */
const published = ({ kernelName }: Convolution) => `model.decoder.module_list.${kernelName.slice(5)}`;

test('direct kernels keep the taps that can meet the map, along the axes as they are computed', async (t) => {
  const tensors = randomStateDict(SHORT_AXES, 3);
  const root = t.testdir();
  const { architecture, weights, read } = await store(join(root, 'decoder.onnx.data'), tensors);
  let trimmed = 0;
  for (const one of allConvolutions(architecture)) {
    const kernels = tensors.get(published(one))!.values;
    const [first, second] = one.lengths;
    const isSwapped = one.channel !== 'N' && first > second;
    const tensor = weights.get(one.kernelName)!;
    const reach = (length: number) => Math.min(9, 2 * length - 1);
    const [height, width] = isSwapped ? [reach(second), reach(first)] : [reach(first), reach(second)];
    t.strictSame(tensor.shape, [one.outputs, one.inputs, height, width], one.name);
    const expected: number[] = [];
    for (let pair = 0; pair < one.outputs * one.inputs; pair++) {
      for (let y = 0; y < height; y++) {
        for (let x = 0; x < width; x++) {
          const [a, b] = [y + (9 - height) / 2, x + (9 - width) / 2];
          expected.push(kernels[pair * 81 + (isSwapped ? b * 9 + a : a * 9 + b)]!);
        }
      }
    }
    t.strictSame([...read(tensor)], expected);
    if (height * width < 81) trimmed++;
  }
  t.equal(trimmed, 10);

  await writeFile(join(root, 'decoder.onnx'), decoderGraph(architecture, weights));
  const condition = new Float32Array(2 * 6 * 3);
  fillUniform(seededRandom(4), condition, 1);
  const session = await InferenceSession.create(join(root, 'decoder.onnx'));
  t.teardown(() => session.release());
  const { tokens } = await session.run({ condition: new Tensor('float32', condition, [1, 2, 6, 3]) });
  const expected = [...referenceTokens({ ...SHORT_AXES, tensors }, condition)].flatMap((token) => [...token]);
  const magnitude = Math.max(...expected.map(Math.abs));
  const actual = tokens!.data as Float32Array;
  t.equal(actual.length, expected.length);
  t.ok(expected.every((value, at) => Math.abs(value - actual[at]!) < 1e-5 * magnitude));
});

test('stored spectra are the transforms of their kernels, block by block, the last filled up with zeros', async (t) => {
  const tensors = randomStateDict(SHAPE, 5);
  const { architecture } = inferArchitecture(
    [...tensors].map(([name, { shape }]) => ({ name, shape, dtype: 'F32' })),
  );
  const convolutions = allConvolutions(architecture);
  for (const products of [3, 4] as const) {
    const formOf = ({ lengths }: Convolution): SpectralForm => ({
      form: 'spectral',
      half: products === 3 ? 0 : 1,
      tiles: [Math.min(2, lengths[0]), 1],
      products,
      blockChannels: 3,
    });
    const forms = new Map(convolutions.map((one) => [one.name, formOf(one)]));
    const path = join(t.testdir(), 'data');
    const runner = createGraphRunner({ threads: 1 });
    const { weights, errors, read } = await store(path, tensors, { forms, runner });
    for (const one of convolutions) {
      const form = formOf(one);
      const shape = spectraShape(one, form);
      const tensor = weights.get(spectraName(one))!;
      t.strictSame(tensor.shape, shape);
      t.ok(weights.has(rowsName(one)) && !weights.has(one.kernelName), `${one.name}: rows, and no kernel`);
      const difference = Math.max(...differences(one, form, read(tensor), tensors.get(published(one))!));
      t.ok(difference < 1e-5, `${one.name}, ${products} products: ${difference.toExponential(1)}`);
      t.ok(errors.get(one.name)! < 1e-6);
    }
  }
});

/** How far each number of the stored spectra is from the sum over taps that it stands for. */
function differences(
  one: Convolution,
  form: SpectralForm,
  stored: Float32Array,
  { values }: Numbers,
): number[] {
  const { inputs, outputs, kernel } = one;
  const [blocks, , , channels] = spectraShape(one, form);
  const transform = kernelSpectra(kernel, form.half, tilingsOf(one, form), form.products);
  const area = kernel * kernel;
  const found: number[] = [];
  let at = 0;
  for (let block = 0; block < blocks; block++) {
    // Of a frequency first its factors, then the inputs of each, then the channels of the block.
    for (let row = 0; row < transform.rows; row++) {
      for (let input = 0; input < inputs; input++) {
        for (let channel = 0; channel < channels; channel++, at++) {
          const output = block * channels + channel;
          let sum = 0;
          for (let tap = 0; tap < area && output < outputs; tap++) {
            sum += transform.values[row * area + tap]! * values[(output * inputs + input) * area + tap]!;
          }
          found.push(Math.abs(stored[at]! - sum));
        }
      }
    }
  }
  if (at !== stored.length) throw new Error(`${at} numbers expected, ${stored.length} stored`);
  return found;
}

test('an abort midway ends it, and closes the graphs that transform and measure', async (t) => {
  const tensors = randomStateDict(SHAPE, 6);
  const controller = new AbortController();
  let open = 0;
  const run = createGraphRunner({ threads: 1 });
  const runner: GraphRunner = async (model) => {
    const graph = await run(model);
    open++;
    return {
      ...graph,
      async close() {
        open--;
        await graph.close();
      },
    };
  };
  const form: SpectralForm = { form: 'spectral', half: 0, tiles: [1, 1], products: 4, blockChannels: 2 };
  const streamed: string[] = [];
  const stored = store(join(t.testdir(), 'data'), tensors, {
    forms: new Map([
      ['layer0.conv1w', form],
      ['layer0.conv2w', form],
    ]),
    runner,
    signal: controller.signal,
    onTensor: (name) => {
      streamed.push(name);
      if (name.endsWith('conv1w.weight')) controller.abort();
    },
  });
  await t.rejects(stored, { name: 'AbortError' });
  t.match(streamed.at(-1), /conv1w/);
  t.equal(open, 0);
});
