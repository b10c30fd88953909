import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import { tryEncoder } from '../../src/inference/try-encoder.ts';
import { importCheckpoint } from '../../src/models/import/import-checkpoint.ts';
import { createGraphBuilder } from '../../src/onnx/graph-builder.ts';
import { decodeModel, editModel } from '../../src/onnx/schema.ts';
import { importSmallBundle } from '../models/small-bundle.ts';

const verify = (bundle: Parameters<typeof tryEncoder>[0]) => tryEncoder(bundle, { threads: 1 });

test('an import whose encoder does not run fails, says why, and leaves nothing', async (t) => {
  const root = t.testdir();
  const { bundle, options } = await importSmallBundle(root, undefined, { verify });
  t.equal(bundle.manifest.id, 'tiny');
  const out = join(root, 'failed', 'bundle');
  const model = join(options.encoderDirectory, 'model.onnx');
  const tokenizer = join(options.encoderDirectory, 'tokenizer.json');
  const [goodModel, goodTokenizer] = [await readFile(model), await readFile(tokenizer, 'utf8')];
  const withToken = JSON.parse(goodTokenizer);
  withToken.added_tokens.push({ ...withToken.added_tokens[0], id: 30_522, content: '[NEW]' });

  const newer = editModel(goodModel, (message) => {
    message.irVersion = 99;
  });
  const unknown = editModel(goodModel, ({ graph }) => {
    graph!.node!.find(({ opType }) => opType === 'Erf')!.opType = 'Magic';
  });
  for (const [what, bytes, text, message] of [
    [
      'a newer format',
      newer,
      goodTokenizer,
      /^encoder\.onnx does not load: Load model from encoder\.onnx failed:model\.cc.* IR version: 99/,
    ],
    [
      'an unknown operator',
      unknown,
      goodTokenizer,
      /^encoder\.onnx does not load: Load model from encoder\.onnx failed:.*Magic/,
    ],
    [
      'a token without an embedding',
      goodModel,
      JSON.stringify(withToken),
      /^The tokenizer has tokens up to the id 30522, for which the encoder has no embedding\. Take .* \(encoder\.onnx failed: .*out of data bounds/,
    ],
    [
      'positions for four tokens alone, and prompts of six',
      positionsFor(4),
      goodTokenizer,
      /^encoder\.onnx does not take a prompt of 6 tokens \(encoder\.onnx failed: .*out of data bounds/,
    ],
    [
      'numbers that are none',
      notANumber(),
      goodTokenizer,
      /^encoder\.onnx gives numbers that are not finite\./,
    ],
  ] as const) {
    await writeFile(model, bytes);
    await writeFile(tokenizer, text);
    await t.rejects(importCheckpoint({ ...options, out }), { code: 'bundle-unloadable', message }, what);
    t.same(await readdir(join(root, 'failed')), [], what);
  }
  t.equal(decodeModel(newer).irVersion, 99);
});

/** An encoder of width 8 whose hidden states are embeddings of positions, which it counts along the mask as RoBERTa does. */
function positionsFor(tokens: number): Uint8Array {
  const graph = createGraphBuilder('positions');
  const sides = ['batch', 'positions'];
  const ids = graph.input('input_ids', 'int64', sides);
  const mask = graph.input('attention_mask', 'int64', sides);
  const along = graph.constant('along', BigInt64Array.of(1n), []);
  const positions = graph.node('counted', 'CumSum', [mask, along]);
  const table = graph.constant('table', new Float32Array((tokens + 1) * 8).fill(0.5), [tokens + 1, 8]);
  const axis = graph.constant('last', BigInt64Array.of(2n), [1]);
  const column = graph.node('column', 'Unsqueeze', [
    graph.node('float', 'Cast', [ids], { to: { int: 1 } }),
    axis,
  ]);
  graph.node('last_hidden_state', 'Add', [graph.node('rows', 'Gather', [table, positions]), column]);
  graph.output('last_hidden_state', 'float32', [...sides, 8]);
  return graph.encode();
}

/** An encoder of width 8 that divides nothing by nothing. */
function notANumber(): Uint8Array {
  const graph = createGraphBuilder('nan');
  const sides = ['batch', 'positions'];
  const ids = graph.input('input_ids', 'int64', sides);
  graph.input('attention_mask', 'int64', sides);
  const zero = graph.node('zero', 'Mul', [
    graph.node('float', 'Cast', [ids], { to: { int: 1 } }),
    graph.constant('nought', Float32Array.of(0), []),
  ]);
  const nan = graph.node('nan', 'Div', [zero, zero]);
  const axis = graph.constant('last', BigInt64Array.of(2n), [1]);
  const row = graph.constant('row', new Float32Array(8).fill(1), [1, 1, 8]);
  graph.node('last_hidden_state', 'Mul', [graph.node('column', 'Unsqueeze', [nan, axis]), row]);
  graph.output('last_hidden_state', 'float32', [...sides, 8]);
  return graph.encode();
}
