import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { type Test, test } from 'tap';
import { fillUniform, seededRandom } from '../../../../src/base/random.ts';
import { writeBertEncoder } from '../../../../src/models/import/encoder/bert-graph.ts';
import { KEY_BLOCK, lookAtVisibleKeys } from '../../../../src/models/import/encoder/visible-keys.ts';
import { createGraphBuilder } from '../../../../src/onnx/graph-builder.ts';
import { decodeModel, editModel } from '../../../../src/onnx/schema.ts';

const POSITIONS = 160;
const SHAPE = { vocabulary: 500, positions: POSITIONS, width: 48, layers: 3, heads: 4, feedForward: 96 };

/** A BERT with weights large enough that attention is far from even. */
async function bert(t: Test) {
  const directory = join(t.testdir({}), 'encoder');
  await mkdir(directory);
  const model = join(directory, 'model.onnx');
  const random = seededRandom(4);
  await writeBertEncoder(
    SHAPE,
    (weight) => {
      const values = new Float32Array(weight.shape.reduce((a, b) => a * b));
      fillUniform(random, values, weight.name.includes('norm') ? 1 : 0.5);
      return [values];
    },
    { model, data: join(directory, 'encoder.onnx.data') },
  );
  const open = async (bytes: Uint8Array, name: string) => {
    await writeFile(join(directory, name), bytes);
    const session = await InferenceSession.create(join(directory, name), { logSeverityLevel: 3 });
    t.teardown(() => session.release());
    return session;
  };
  return { bytes: await readFile(model), open };
}

/** Hidden states of texts of these lengths, row by row. */
async function hidden(session: InferenceSession, lengths: readonly number[]): Promise<Float32Array[]> {
  const sides = [lengths.length, POSITIONS];
  const [ids, mask] = [0, 1].map(() => new BigInt64Array(lengths.length * POSITIONS)) as [
    BigInt64Array,
    BigInt64Array,
  ];
  lengths.forEach((length, row) => {
    for (let at = 0; at < length; at++) {
      ids[row * POSITIONS + at] = BigInt(1 + ((at * 37 + length * 11) % 490));
      mask[row * POSITIONS + at] = 1n;
    }
  });
  const { last_hidden_state: output } = await session.run({
    input_ids: new Tensor('int64', ids, sides),
    attention_mask: new Tensor('int64', mask, sides),
    token_type_ids: new Tensor('int64', new BigInt64Array(ids.length), sides),
  });
  const values = output!.data as Float32Array;
  const size = POSITIONS * SHAPE.width;
  return lengths.map((_, row) => values.slice(row * size, (row + 1) * size));
}

function difference(actual: Float32Array, expected: Float32Array): number {
  const scale = Math.max(...expected.map(Math.abs));
  return Math.max(...expected.map((value, at) => Math.abs(value - actual[at]!))) / scale;
}

test('hidden states are those of the whole attention, at padding too', async (t) => {
  const { bytes, open } = await bert(t);
  const whole = await open(bytes, 'whole.onnx');
  const cut = await open(lookAtVisibleKeys(bytes, 'attention_mask')!, 'cut.onnx');
  for (const lengths of [[5], [1, 31, 32], [33, 40], [POSITIONS, 3], [70, 150, 9], [0, 4], [0]]) {
    const [expected, actual] = [await hidden(whole, lengths), await hidden(cut, lengths)];
    lengths.forEach((length, row) => {
      const apart = difference(actual[row]!, expected[row]!);
      t.ok(apart < 1e-5, `${length} of ${lengths}: ${apart}`);
    });
  }
  const far = await hidden(whole, [POSITIONS]);
  t.ok(difference((await hidden(whole, [5]))[0]!, far[0]!) > 0.01, 'which is not what any text has');
});

test('fewer keys are looked at, by the dense layers of keys and values too', async (t) => {
  const { bytes } = await bert(t);
  const graph = decodeModel(lookAtVisibleKeys(bytes, 'attention_mask')!).graph!;
  const cuts = graph.node!.filter(
    ({ opType, output }) => opType === 'Slice' && output![0]!.includes('visible-keys'),
  );
  t.equal(cuts.length, 3 * SHAPE.layers);
  const users = cuts.map(
    ({ output }) => graph.node!.find(({ input }) => input?.includes(output![0]!))!.opType,
  );
  t.strictSame(
    users,
    Array.from({ length: SHAPE.layers }, () => ['MatMul', 'MatMul', 'Add']).flat(),
    'what keys and values are made of, and the mask',
  );
  t.equal(KEY_BLOCK, 32);
});

test('a graph whose attention is not understood stays as it is', async (t) => {
  const { bytes } = await bert(t);
  const plain = createGraphBuilder('plain');
  plain.input('attention_mask', 'int64', ['batch', 'positions']);
  plain.output(plain.node('y', 'Identity', ['attention_mask']), 'int64', ['batch', 'positions']);
  t.equal(lookAtVisibleKeys(plain.encode(), 'attention_mask'), undefined, 'no attention');
  const changed = (edit: Parameters<typeof editModel>[1]) =>
    lookAtVisibleKeys(editModel(bytes, edit), 'attention_mask');
  const nodesOf = (model: Parameters<Parameters<typeof editModel>[1]>[0]) => model.graph!.node!;
  t.equal(
    changed((model) => {
      nodesOf(model).find(({ opType }) => opType === 'Softmax')!.input![0] = 'layer0.scaled';
    }),
    undefined,
    'attention without a mask',
  );
  t.equal(
    changed((model) => {
      nodesOf(model).find(({ opType }) => opType === 'Erf')!.opType = 'Softmax';
    }),
    undefined,
    'a Softmax of something else',
  );
  t.equal(
    changed((model) => {
      nodesOf(model).find(({ opType }) => opType === 'Erf')!.opType = 'MultiHeadAttention';
    }),
    undefined,
    'fused attention',
  );
  t.ok(changed(() => {}));
});
