import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { test } from 'tap';
import { openSafetensors } from '../../../../src/adapter/safetensors.ts';
import { type BertShape, writeBertEncoder } from '../../../../src/models/import/encoder/bert-graph.ts';

test('the graph gives the numbers of the reference BERT with the same weights', async (t) => {
  const path = fileURLToPath(new URL('../../../golden/models/bert-small.safetensors', import.meta.url));
  const golden = await openSafetensors(path);
  t.teardown(() => golden.close());
  const numbers = new Map<string, Float32Array>();
  for (const { name } of golden.header.tensors) numbers.set(name, await golden.read(name));
  const shape = JSON.parse(golden.header.metadata['shape']!) as BertShape;

  const directory = t.testdir();
  const model = join(directory, 'model.onnx');
  await writeBertEncoder(shape, ({ name }) => [numbers.get(name)!], {
    model,
    data: join(directory, 'model.onnx.data'),
  });
  const session = await InferenceSession.create(model, { intraOpNumThreads: 1 });
  t.teardown(() => session.release());
  const integers = (name: string) =>
    new Tensor('int64', BigInt64Array.from([...numbers.get(name)!].map(BigInt)), [2, 7]);
  const { last_hidden_state: output } = await session.run({
    input_ids: integers('golden.ids'),
    attention_mask: integers('golden.mask'),
    token_type_ids: integers('golden.token-types'),
  });
  const expected = numbers.get('golden.output')!;
  t.same(output!.dims, [2, 7, shape.width]);
  const actual = output!.data as Float32Array;
  const difference = Math.max(...expected.map((value, at) => Math.abs(value - actual[at]!)));
  t.ok(difference < 1e-5, `largest difference ${difference.toExponential(1)}`);
});
