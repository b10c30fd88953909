import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { test } from 'tap';
import { ExternalDataFile } from '../../src/onnx/external-data.ts';
import { createGraphBuilder } from '../../src/onnx/graph-builder.ts';
import { inspectModel } from '../../src/onnx/inspect-model.ts';

const bytesOf = (values: Float32Array) => new Uint8Array(values.buffer, values.byteOffset, values.byteLength);

test('a written model runs, with weights in the model file and beside it', async (t) => {
  const directory = t.testdir();
  const data = await ExternalDataFile.create(join(directory, 'm.onnx.data'));
  const filler = await data.append('float32', [3], [bytesOf(new Float32Array([9, 9, 9]))]);
  const weight = new Float32Array([1, 2, 3, 4, 5, 6]);
  // Handed over in two chunks, as a stream would.
  const placed = await data.append(
    'float32',
    [3, 2],
    [bytesOf(weight).slice(0, 8), bytesOf(weight).slice(8)],
  );
  await data.close();
  await data.close();
  t.same(filler, { elementType: 'float32', shape: [3], location: 'm.onnx.data', offsetBytes: 0, bytes: 12 });
  t.match(placed, { offsetBytes: 4096, bytes: 24 });
  t.equal((await stat(join(directory, 'm.onnx.data'))).size, 4096 + 24, 'tensors start on pages');

  const graph = createGraphBuilder('linear', { metadata: { purpose: 'test' } });
  const x = graph.input('x', 'float32', ['B', 2]);
  const w = graph.weight('w', placed);
  const product = graph.node('product', 'Gemm', [x, w], { transB: { int: 1 }, alpha: { float: 0.5 } });
  const bias = graph.constant('bias', new Float32Array([10, 20, 30]), [3]);
  const sum = graph.node('sum', 'Add', [product, bias]);
  graph.node('y', 'Transpose', [sum], { perm: { ints: [1, 0] } });
  graph.output('y', 'float32', [3, 'B']);
  const path = join(directory, 'm.onnx');
  await writeFile(path, graph.encode());

  const facts = await inspectModel(path);
  t.same(facts.inputs, [{ name: 'x', elementType: 'float32', shape: ['B', 2] }]);
  t.same(facts.outputs, [{ name: 'y', elementType: 'float32', shape: [3, 'B'] }]);
  t.same([...facts.operators].sort(), ['Add', 'Gemm', 'Transpose']);
  t.same(facts.external, [{ tensor: 'w', location: 'm.onnx.data', offsetBytes: 4096, bytes: 24 }]);

  const session = await InferenceSession.create(path);
  const result = await session.run({ x: new Tensor('float32', [2, 4, -2, 0], [2, 2]) });
  await session.release();
  t.same([...((await result['y']!.getData()) as Float32Array)], [15, 9, 31, 17, 47, 25]);
  t.same(graph.encode(), await readFile(path), 'encoding again gives the same bytes');
});

test('a graph refuses two values of one name, and names it never made', (t) => {
  const graph = createGraphBuilder('g');
  graph.input('x', 'float32', [1]);
  t.throws(() => graph.constant('x', new Float32Array(1), [1]), /two values named x/);
  t.throws(() => graph.node('y', 'Add', ['x', 'z']), /no value named z/);
  t.throws(() => graph.output('z', 'float32', [1]), /no value named z/);
  t.end();
});
