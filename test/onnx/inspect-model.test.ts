import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import { createGraphBuilder } from '../../src/onnx/graph-builder.ts';
import { inspectModel, inspectModelBytes } from '../../src/onnx/inspect-model.ts';
import { encodeModel, type GraphMessage, type ModelMessage } from '../../src/onnx/schema.ts';

const value = (name: string) => ({ name, type: { tensorType: { elemType: 7, shape: { dim: [{}] } } } });
const graphOf = (extra: GraphMessage): GraphMessage => ({
  node: [{ opType: 'Identity', input: ['x'], output: ['y'] }],
  input: [value('x')],
  output: [value('y')],
  ...extra,
});
const modelOf = (graph: GraphMessage, extra: ModelMessage = {}): Uint8Array =>
  encodeModel({ irVersion: 8, opsetImport: [{ version: 17 }], graph, ...extra });
const external = (entries: Record<string, string>, name = 'w') => ({
  name,
  dataType: 1,
  dims: [1],
  dataLocation: 1,
  externalData: Object.entries(entries).map(([key, entry]) => ({ key, value: entry })),
});

test('external data is found wherever a tensor can hide', (t) => {
  const inner = graphOf({ initializer: [external({ location: 'nested' })] });
  const facts = inspectModelBytes(
    modelOf(
      graphOf({
        initializer: [external({ location: 'top', offset: '4096', length: '8' }), { name: 'x', dims: [1] }],
        sparseInitializer: [{ values: external({ location: 'sparse' }) }],
        node: [
          { opType: 'If', attribute: [{ name: 'then_branch', g: inner }] },
          { opType: 'Constant', attribute: [{ name: 'value', t: external({ location: 'attribute' }) }] },
          { opType: 'Attention', domain: 'com.microsoft' },
        ],
      }),
      { functions: [{ node: [{ opType: 'Loop', attribute: [{ graphs: [inner] }] }] }] },
    ),
  );
  t.same(
    facts.external.map(({ location }) => location),
    ['top', 'sparse', 'nested', 'attribute', 'nested'],
  );
  t.match(facts.external[0], { offsetBytes: 4096, bytes: 8 });
  t.match(facts.external[1], { offsetBytes: 0, bytes: undefined });
  t.same([...facts.operators].sort(), ['Constant', 'Identity', 'If', 'Loop', 'com.microsoft.Attention']);
  t.same(facts.inputs, [], 'an initialiser listed among the inputs is not to be fed');
  t.same(facts.outputs, [{ name: 'y', elementType: 'int64', shape: [undefined] }]);
  t.end();
});

test('what is no usable model is refused with a reason', async (t) => {
  const whole = modelOf(graphOf({}));
  let deep = graphOf({});
  for (let i = 0; i < 12; i++) deep = graphOf({ node: [{ opType: 'If', attribute: [{ g: deep }] }] });
  const table: [string, Uint8Array, RegExp][] = [
    ['nothing', new Uint8Array(), /lacks its version/],
    ['text', Buffer.from('not a model at all'), /not an ONNX model/],
    ['a cut file', whole.subarray(0, whole.length - 3), /not an ONNX model/],
    ['no operator set', encodeModel({ irVersion: 8, graph: graphOf({}) }), /lacks/],
    ['no outputs', modelOf(graphOf({ output: [] })), /lacks/],
    ['no nodes', modelOf(graphOf({ node: [] })), /lacks/],
    ['graphs without end', modelOf(deep), /nest deeper/],
    ['an external file without a name', modelOf(graphOf({ initializer: [external({})] })), /without a name/],
    [
      'a negative offset',
      modelOf(graphOf({ initializer: [external({ location: 'a', offset: '-1' })] })),
      /external offset/,
    ],
    [
      'a length beyond exact numbers',
      modelOf(graphOf({ initializer: [external({ location: 'a', length: '99999999999999999999' })] })),
      /external length/,
    ],
    [
      'a shape of twenty sides',
      modelOf(
        graphOf({
          output: [
            {
              name: 'y',
              type: { tensorType: { elemType: 1, shape: { dim: Array(20).fill({ dimValue: 1 }) } } },
            },
          ],
        }),
      ),
      /more than 16 sides/,
    ],
  ];
  for (const [what, bytes, message] of table) {
    t.throws(() => inspectModelBytes(bytes), { code: 'onnx-invalid', message }, what);
  }
  const path = join(t.testdir(), 'm.onnx');
  await writeFile(path, createGraphBuilder('empty').encode());
  await t.rejects(inspectModel(path), { code: 'onnx-invalid' });
});
