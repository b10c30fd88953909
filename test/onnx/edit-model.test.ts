import { test } from 'tap';
import { decodeModel, editModel, encodeModel } from '../../src/onnx/schema.ts';

/** A length-delimited protobuf field with a number below 16. */
const field = (number: number, bytes: Uint8Array) => [(number << 3) | 2, bytes.length, ...bytes];
const text = (value: string) => new TextEncoder().encode(value);

test('an edit keeps what the schema does not know, at every depth', (t) => {
  const whole = encodeModel({
    irVersion: 8,
    opsetImport: [{ version: 17 }],
    graph: { node: [{ opType: 'Identity', input: ['x'], output: ['y'] }], output: [{ name: 'y' }] },
  });
  // doc_string of a model is field 6, of a graph field 10, of a node field 6, and none is in the schema. Messages that come
  // twice are merged, as protobuf says.
  const node = field(1, Uint8Array.from([...field(4, text('Relu')), ...field(6, text('node note'))]));
  const graph = field(7, Uint8Array.from([...node, ...field(10, text('graph note'))]));
  const bytes = Uint8Array.from([...whole, ...graph, ...field(6, text('model note'))]);

  const edited = editModel(bytes, (model) => {
    model.graph!.node!.unshift({ opType: 'Neg', input: ['z'], output: ['x'] });
  });
  t.same(
    decodeModel(edited).graph!.node!.map(({ opType }) => opType),
    ['Neg', 'Identity', 'Relu'],
  );
  for (const note of ['node note', 'graph note', 'model note']) {
    t.ok(Buffer.from(edited).includes(note), `${note} is kept`);
  }
  t.same(decodeModel(editModel(bytes, () => {})), decodeModel(bytes), 'no change changes nothing');
  t.end();
});
