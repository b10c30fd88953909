import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { test } from 'tap';
import { fillUniform, seededRandom } from '../../../../src/base/random.ts';
import { openStateDict } from '../../../../src/models/import/checkpoint/open-state-dict.ts';
import { findHypernetwork } from '../../../../src/models/import/t2l/hypernetwork.ts';
import { headGraph, trunkGraph } from '../../../../src/models/import/t2l/hypernetwork-graph.ts';
import { storeHypernetwork } from '../../../../src/models/import/t2l/store-hypernetwork.ts';
import { ExternalDataFile } from '../../../../src/onnx/external-data.ts';
import { type ReferenceHypernetwork, referenceMatrices } from './reference-hypernetwork.ts';
import { SIZES, smallHypernetwork, VARIANTS, type Variant, WIDTHS } from './small-checkpoint.ts';
import { torchFile } from './write-torch.ts';

const TOLERANCE = 1e-5;
const PATHS = new Map(Object.keys(WIDTHS).map((name) => [name, `self_attn.${name}`]));

/** Imports the hypernetwork from a file of torch.save and runs its graph. */
async function run(
  directory: string,
  reference: ReferenceHypernetwork,
  { args }: Variant,
  options: { precision?: 'f16'; condition: Float32Array; moduleOrder?: readonly string[] },
) {
  await writeFile(join(directory, 'hypermod.pt'), torchFile(reference.tensors));
  const stateDict = await openStateDict(join(directory, 'hypermod.pt'));
  const { hypernetwork, names } = findHypernetwork(stateDict.entries, {
    args: { emb_model: 'gte', ...args },
    rank: SIZES.rank,
    layers: SIZES.layers,
    targets: Object.keys(WIDTHS),
    widthsOf: (name) => WIDTHS[name as keyof typeof WIDTHS],
    ...(options.moduleOrder && { moduleOrder: options.moduleOrder }),
  });
  const file = await ExternalDataFile.create(join(directory, 'hypernetwork.onnx.data'));
  const placed = await storeHypernetwork(hypernetwork, stateDict, names, file, {
    ...(options.precision && { precision: options.precision }),
  });
  await file.close();
  await stateDict.close();
  const compute = async (graph: Uint8Array, inputs: Record<string, Tensor>) => {
    const path = join(directory, 'graph.onnx');
    await writeFile(path, graph);
    const session = await InferenceSession.create(path, { intraOpNumThreads: 1 });
    try {
      return (await session.run(inputs)) as Record<string, Tensor>;
    } finally {
      await session.release();
    }
  };
  const condition = new Tensor('float32', options.condition, [1, SIZES.width]);
  const between = await compute(trunkGraph(hypernetwork, placed), { condition });
  const outputs: Record<string, Tensor> = {};
  for (const [index, { name }] of hypernetwork.modules.entries()) {
    const graph = headGraph(hypernetwork, placed, { index, path: PATHS.get(name)! });
    Object.assign(outputs, await compute(graph, between));
  }
  return outputs;
}

/** The largest difference between two stacks, relative to the largest magnitude of the expected one. */
function difference(actual: ArrayLike<number>, expected: Float64Array): number {
  let [largest, most] = [0, 0];
  expected.forEach((value, i) => {
    largest = Math.max(largest, Math.abs(value));
    most = Math.max(most, Math.abs(value - actual[i]!));
  });
  return most / largest;
}

function randomCondition(seed: number): Float32Array {
  const condition = new Float32Array(SIZES.width);
  fillUniform(seededRandom(seed), condition, 0.7);
  return condition;
}

for (const [name, variant] of Object.entries(VARIANTS)) {
  for (const order of [
    ['q_proj', 'v_proj'],
    ['v_proj', 'q_proj'],
  ] as const) {
    test(`${name}, heads in the order ${order.join(', ')}`, async (t) => {
      const reference = smallHypernetwork(variant, order);
      const condition = randomCondition(5);
      const outputs = await run(t.testdir(), reference, variant, { condition });
      const expected = referenceMatrices(reference, condition);
      t.same(Object.keys(outputs).sort(), [...expected.keys()].map((key) => `self_attn.${key}`).sort());
      for (const [key, values] of expected) {
        const { dims, data } = outputs[`self_attn.${key}`]!;
        const [module, side] = key.split('.') as [keyof typeof WIDTHS, 'A' | 'B'];
        const { in: columns, out } = WIDTHS[module];
        t.same(dims, side === 'A' ? [SIZES.layers, SIZES.rank, columns] : [SIZES.layers, out, SIZES.rank]);
        t.ok(
          difference(data as Float32Array, values) <= TOLERANCE,
          `${key}: ${difference(data as Float32Array, values)}`,
        );
      }
    });
  }
}

test('another order of modules than the heads have', async (t) => {
  const variant = VARIANTS['sft']!;
  const reference = smallHypernetwork(variant);
  const condition = randomCondition(6);
  const moduleOrder = ['v_proj', 'q_proj'];
  const outputs = await run(t.testdir(), reference, variant, { condition, moduleOrder });
  const turned = { ...reference, modules: [...reference.modules].reverse() };
  const [own, other] = [referenceMatrices(reference, condition), referenceMatrices(turned, condition)];
  for (const [key, values] of other) {
    const data = outputs[`self_attn.${key}`]!.data as Float32Array;
    t.ok(difference(data, values) <= TOLERANCE, key);
    t.ok(difference(data, own.get(key)!) > 0.01, `${key} is not that of the heads' order`);
  }
});

test('a condition of zeros has no direction, and its length is bounded', async (t) => {
  const variant = VARIANTS['sft']!;
  const reference = smallHypernetwork(variant);
  const condition = new Float32Array(SIZES.width);
  const outputs = await run(t.testdir(), reference, variant, { condition });
  for (const [key, values] of referenceMatrices(reference, condition)) {
    t.ok(difference(outputs[`self_attn.${key}`]!.data as Float32Array, values) <= TOLERANCE, key);
  }
});

test('matrices in half precision', async (t) => {
  const variant = VARIANTS['sft']!;
  const reference = smallHypernetwork(variant);
  const condition = randomCondition(7);
  const outputs = await run(t.testdir(), reference, variant, { condition, precision: 'f16' });
  for (const [key, values] of referenceMatrices(reference, condition)) {
    const off = difference(outputs[`self_attn.${key}`]!.data as Float32Array, values);
    t.ok(off <= 5e-3 && off > 1e-6, `${key}: ${off}`);
  }
});
