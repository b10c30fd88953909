import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { test } from 'tap';
import { openSafetensors } from '../../../../src/adapter/safetensors.ts';
import { type BertShape, writeBertEncoder } from '../../../../src/models/import/encoder/bert-graph.ts';
import {
  checkAttention,
  setFullyMaskedAttention,
} from '../../../../src/models/import/encoder/fully-masked.ts';
import { createGraphBuilder } from '../../../../src/onnx/graph-builder.ts';
import { editModel, encodeModel, type ModelMessage, type NodeMessage } from '../../../../src/onnx/schema.ts';

const [PROMPTS, POSITIONS] = [3, 7];

async function goldenTensors(file: string) {
  const path = fileURLToPath(new URL(`../../../golden/models/${file}.safetensors`, import.meta.url));
  await using golden = await openSafetensors(path);
  const numbers = new Map<string, Float32Array>();
  for (const { name } of golden.header.tensors) numbers.set(name, await golden.read(name));
  return { numbers, metadata: golden.header.metadata };
}

function largestDifference(a: Float32Array, b: Float32Array): number {
  return Math.max(...a.map((value, at) => Math.abs(value - b[at]!)));
}

test('both modes give what the reference gives, and prompts with tokens keep their bits', async (t) => {
  const { numbers, metadata } = await goldenTensors('bert-small');
  const golden = (await goldenTensors('bert-masked')).numbers;
  const shape = JSON.parse(metadata['shape']!) as BertShape;
  const directory = t.testdir();
  const path = join(directory, 'model.onnx');
  await writeBertEncoder(shape, ({ name }) => [numbers.get(name)!], {
    model: path,
    data: join(directory, 'model.onnx.data'),
  });
  const run = async (file: string) => {
    const session = await InferenceSession.create(join(directory, file), { intraOpNumThreads: 1 });
    const integers = (values: Iterable<number>) =>
      new Tensor('int64', BigInt64Array.from([...values].map(BigInt)), [PROMPTS, POSITIONS]);
    const { last_hidden_state: output } = await session.run({
      input_ids: integers(golden.get('ids')!),
      attention_mask: integers(golden.get('mask')!),
      token_type_ids: integers(new Uint8Array(PROMPTS * POSITIONS)),
    });
    await session.release();
    return output!.data as Float32Array;
  };
  const original = await readFile(path);
  // Exports whose attention is guarded against empty rows, as that of PyTorch's scaled dot-product attention.
  const guarded = editModel(original, ({ graph }) => {
    graph!.node = graph!.node!.flatMap((node) => (node.opType === 'Softmax' ? guardedSoftmax(node) : [node]));
  });
  const untouched = await run('model.onnx');
  const withTokens = 2 * POSITIONS * shape.width;
  for (const [export_, bytes] of Object.entries({ eager: original, guarded })) {
    for (const mode of ['uniform', 'zero'] as const) {
      const file = `${export_}.${mode}.onnx`;
      await writeFile(
        join(directory, file),
        setFullyMaskedAttention(bytes, { mask: 'attention_mask', mode }),
      );
      const output = await run(file);
      t.same(output.subarray(0, withTokens), untouched.subarray(0, withTokens), `${file}: the same bits`);
      const difference = largestDifference(output, golden.get(mode)!);
      t.ok(difference < 1e-5, `${file}: ${difference.toExponential(1)} from the reference`);
    }
  }
  t.ok(largestDifference(golden.get('zero')!, golden.get('uniform')!) > 0.1, 'the modes are not the same');
});

/** Softmax over scores of which masked ones become −∞, and 0 where that leaves nothing. */
function guardedSoftmax(softmax: NodeMessage): NodeMessage[] {
  const [scores, shares] = [softmax.input![0]!, softmax.output![0]!];
  const own = (part: string) => `${shares}.${part}`;
  const scalar = (part: string, value: number): NodeMessage => ({
    opType: 'Constant',
    output: [own(part)],
    attribute: [
      {
        name: 'value',
        type: 4,
        t: { dataType: 1, rawData: new Uint8Array(Float32Array.of(value).buffer) },
      },
    ],
  });
  softmax.input = [own('cut')];
  softmax.output = [own('raw')];
  return [
    scalar('least', -1e30),
    scalar('nothing', 0),
    scalar('infinite', Number.NEGATIVE_INFINITY),
    { opType: 'Less', input: [scores, own('least')], output: [own('masked')] },
    { opType: 'Where', input: [own('masked'), own('infinite'), scores], output: [own('cut')] },
    softmax,
    { opType: 'IsNaN', input: [own('raw')], output: [own('empty')] },
    { opType: 'Where', input: [own('empty'), own('nothing'), own('raw')], output: [shares] },
  ];
}

test('heads that share the axis of the batch are told apart by prompt', async (t) => {
  const [heads, keys] = [2, 3];
  const graph = createGraphBuilder('attention');
  graph.input('mask', 'int64', ['batch', keys]);
  graph.input('scores', 'float32', ['batch * heads', keys, keys]);
  graph.node('shares', 'Softmax', ['scores'], { axis: { int: -1 } });
  graph.output('shares', 'float32', ['batch * heads', keys, keys]);
  const scores = new Tensor('float32', Float32Array.from({ length: 2 * heads * 9 }, Math.sin), [
    2 * heads,
    keys,
    keys,
  ]);
  const mask = new Tensor('int64', BigInt64Array.from([0n, 0n, 0n, 0n, 1n, 0n]), [2, keys]);
  const run = async (bytes: Uint8Array) => {
    const session = await InferenceSession.create(bytes, { intraOpNumThreads: 1 });
    const { shares } = await session.run({ mask, scores });
    await session.release();
    return shares!.data as Float32Array;
  };
  const half = heads * keys * keys;
  const plain = encodeModel({
    irVersion: 8,
    opsetImport: [{ version: 17 }],
    graph: {
      node: [{ opType: 'Softmax', input: ['scores'], output: ['shares'] }],
      input: [{ name: 'scores', type: { tensorType: { elemType: 1 } } }],
      output: [{ name: 'shares', type: { tensorType: { elemType: 1 } } }],
    },
  });
  const session = await InferenceSession.create(plain, { intraOpNumThreads: 1 });
  const untouched = (await session.run({ scores }))['shares']!.data as Float32Array;
  await session.release();
  for (const [mode, share] of [
    ['zero', 0],
    ['uniform', Math.fround(1 / keys)],
  ] as const) {
    const shares = await run(setFullyMaskedAttention(graph.encode(), { mask: 'mask', mode }));
    t.same(shares.subarray(0, half), new Float32Array(half).fill(share), `${mode} for the empty prompt`);
    t.same(shares.subarray(half), untouched.subarray(half), 'the other as it was');
  }
});

test('attention that cannot be set is refused by name', (t) => {
  const softmax = (extra: NodeMessage = {}): NodeMessage => ({
    opType: 'Softmax',
    input: ['x'],
    output: ['y'],
    ...extra,
  });
  const axis = (i: number) => [{ name: 'axis', type: 2, i }];
  const model = (node: NodeMessage, version = 17, extra: ModelMessage['graph'] = {}) =>
    encodeModel({
      irVersion: 8,
      opsetImport: [{ version }],
      graph: { node: [node], output: [{ name: 'y' }], ...extra },
    });
  const set = (bytes: Uint8Array) => setFullyMaskedAttention(bytes, { mask: 'mask', mode: 'zero' });
  const table: [string, () => unknown, RegExp][] = [
    [
      'fused',
      () => checkAttention(new Set(['com.microsoft.QAttention', 'Softmax'])),
      /one operator, com\.microsoft\.QAttention/,
    ],
    ['fused by the standard', () => checkAttention(new Set(['Attention'])), /one operator, Attention/],
    ['no attention at all', () => checkAttention(new Set(['MatMul'])), /no Softmax/],
    [
      'hidden in a function',
      () => set(model({ opType: 'Layer', domain: 'pkg', output: ['y'] })),
      /main graph/,
    ],
    ['an old operator set', () => set(model(softmax({ attribute: axis(3) }), 10)), /operator set 10/],
    ['another axis', () => set(model(softmax({ attribute: axis(1) }))), /last axis/],
    ['the old default axis', () => set(model(softmax(), 12)), /last axis/],
    [
      'half precision',
      () => set(model(softmax(), 17, { initializer: [{ name: 'w', dataType: 10, dims: [1] }] })),
      /float16/,
    ],
  ];
  for (const [what, act, message] of table) t.throws(act, { code: 'encoder-invalid', message }, what);
  t.doesNotThrow(() => set(model(softmax({ attribute: axis(3) }), 11)));
  t.doesNotThrow(() => checkAttention(new Set(['Softmax', 'SkipLayerNormalization'])));
  t.end();
});
