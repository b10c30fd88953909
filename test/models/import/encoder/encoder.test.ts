import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import { inspectEncoder } from '../../../../src/models/import/encoder/encoder.ts';
import { ExternalDataFile } from '../../../../src/onnx/external-data.ts';
import { createGraphBuilder } from '../../../../src/onnx/graph-builder.ts';
import { encodeModel } from '../../../../src/onnx/schema.ts';
import { writeEncoder } from '../../small-bundle.ts';

const MODEL = { type: 'WordPiece', unk_token: '[UNK]', vocab: { '[UNK]': 0, a: 1, b: 2 } };
const TOKENIZER = {
  model: MODEL,
  added_tokens: [{ id: 3, content: '[PAD]' }],
  padding: null,
};
/** What git leaves in place of a large file where its extension for them is missing. */
const POINTER = `version https://git-lfs.github.com/spec/v1
oid sha256:${'0'.repeat(64)}
size 90868370
`;
/** A tokenizer that names no padding. */
const BARE = JSON.stringify({ model: MODEL });

type Value = { name: string; type?: 'int64' | 'float32'; shape?: (number | string)[] };

/** A graph with an encoder's interface; it only needs to be inspected. */
function interfaceOf(inputs: Value[], outputs: Value[], operator = 'MatMul'): Uint8Array {
  const graph = createGraphBuilder('encoder');
  for (const { name, type = 'int64', shape = ['batch', 'positions'] } of inputs)
    graph.input(name, type, shape);
  for (const { name, type = 'float32', shape = ['batch', 'positions', 8] } of outputs) {
    graph.node(name, operator, [inputs[0]!.name]);
    graph.output(name, type, shape);
  }
  return graph.encode();
}

const IDS = { name: 'input_ids' };
const MASK = { name: 'attention_mask' };
const HIDDEN = { name: 'last_hidden_state' };

test('an encoder directory as we write it', async (t) => {
  const directory = t.testdir();
  await writeEncoder(directory, 8, 48);
  await writeFile(join(directory, 'config.json'), JSON.stringify({ max_position_embeddings: 48 }));
  const { operators, ...facts } = await inspectEncoder(directory, { width: 8 });
  t.ok(operators.has('Softmax'));
  t.same(facts, {
    model: join(directory, 'model.onnx'),
    dataFiles: ['encoder.onnx.data'],
    tokenizer: join(directory, 'tokenizer.json'),
    inputs: { ids: 'input_ids', mask: 'attention_mask', tokenTypes: 'token_type_ids' },
    output: 'last_hidden_state',
    maxBatch: 32,
    encoderTokens: 48,
    padTokenId: 0,
  });
});

test('what exporters write is understood', async (t) => {
  const root = t.testdir();
  const table: [
    string,
    Uint8Array,
    Record<string, unknown>,
    Record<string, unknown>,
    Record<string, unknown>,
  ][] = [
    [
      'no token types, no config',
      interfaceOf([IDS, MASK], [HIDDEN]),
      TOKENIZER,
      {},
      { encoderTokens: 512, padTokenId: 3, inputs: { ids: 'input_ids', mask: 'attention_mask' } },
    ],
    [
      'a pooled output beside the hidden state',
      interfaceOf(
        [IDS, MASK],
        [{ name: 'sentence_embedding', shape: ['batch', 8] }, { name: 'token_embeddings' }],
      ),
      TOKENIZER,
      {},
      { output: 'token_embeddings' },
    ],
    [
      'an output of any name, alone of its rank',
      interfaceOf([IDS, MASK], [{ name: 'pooler', shape: ['batch', 8] }, { name: 'hidden.12' }]),
      TOKENIZER,
      {},
      { output: 'hidden.12' },
    ],
    [
      'dynamic quantisation',
      interfaceOf([IDS, MASK], [HIDDEN], 'DynamicQuantizeLinear'),
      TOKENIZER,
      {},
      { maxBatch: 1 },
    ],
    [
      'more positions than a slice has',
      interfaceOf([IDS, MASK], [HIDDEN]),
      TOKENIZER,
      { max_position_embeddings: 8192 },
      { encoderTokens: 512 },
    ],
    [
      'positions that begin behind the padding',
      interfaceOf([IDS, MASK], [HIDDEN]),
      TOKENIZER,
      { model_type: 'xlm-roberta', max_position_embeddings: 132 },
      { encoderTokens: 128 },
    ],
    [
      'padding in the tokenizer',
      interfaceOf([IDS, MASK], [HIDDEN]),
      { ...TOKENIZER, padding: { pad_id: 9 } },
      {},
      { padTokenId: 9 },
    ],
    [
      'a padding token under a name of its own',
      interfaceOf([IDS, MASK], [HIDDEN]),
      { model: MODEL, added_tokens: [{ id: 3, content: '<|end|>' }] },
      { pad_token_id: 5 },
      { padTokenId: 3 },
    ],
    [
      'padding in the config alone',
      interfaceOf([IDS, MASK], [HIDDEN]),
      { model: MODEL },
      { pad_token_id: 5 },
      { padTokenId: 5 },
    ],
  ];
  for (const [index, [what, model, tokenizer, config, expected]] of table.entries()) {
    const directory = join(root, String(index));
    // The place optimum uses.
    await mkdir(join(directory, 'onnx'), { recursive: true });
    await writeFile(join(directory, 'onnx/model.onnx'), model);
    await writeFile(join(directory, 'tokenizer.json'), JSON.stringify(tokenizer));
    await writeFile(join(directory, 'config.json'), JSON.stringify(config));
    await writeFile(join(directory, 'tokenizer_config.json'), '{"pad_token":{"content":"<|end|>"}}');
    t.match(await inspectEncoder(directory, { width: 8 }), expected, what);
  }
});

test('one of several forms of a model is chosen by name', async (t) => {
  const directory = t.testdir({ 'tokenizer.json': JSON.stringify(TOKENIZER), onnx: {} });
  const file = 'onnx/model_quantized.onnx';
  await writeFile(join(directory, file), interfaceOf([IDS, MASK], [HIDDEN], 'DynamicQuantizeLinear'));
  const found = await inspectEncoder(directory, { width: 8, file });
  t.match(found, { model: join(directory, file), maxBatch: 1 });
  t.ok(found.operators.has('DynamicQuantizeLinear'));
  await t.rejects(inspectEncoder(directory, { width: 8, file: 'onnx/model_fp16.onnx' }), {
    code: 'encoder-invalid',
    message: 'The encoder directory has no onnx/model_fp16.onnx.',
  });
  await t.rejects(inspectEncoder(directory, { width: 8 }), {
    code: 'encoder-invalid',
    message: /neither model\.onnx nor onnx\/model\.onnx\. Name one of these: onnx\/model_quantized\.onnx\./,
  });
});

test('an output whose width is left open is taken: the engine sees it in its first run', async (t) => {
  for (const shape of [
    ['b', 'p', ''],
    ['b', 'p', 'width'],
  ]) {
    const directory = t.testdir({
      'tokenizer.json': JSON.stringify({ model: MODEL, padding: { pad_id: 0 } }),
    });
    await writeFile(join(directory, 'model.onnx'), interfaceOf([IDS, MASK], [{ ...HIDDEN, shape }]));
    t.match(await inspectEncoder(directory, { width: 8 }), { output: HIDDEN.name });
  }
});

test('what cannot be an encoder is refused with a reason', async (t) => {
  const root = t.testdir();
  const good = interfaceOf([IDS, MASK], [HIDDEN]);
  const external = (location: string) =>
    encodeModel({
      irVersion: 8,
      opsetImport: [{ version: 17 }],
      graph: {
        node: [{ opType: 'Identity' }],
        output: [{ name: 'y' }],
        initializer: [{ name: 'w', dataLocation: 1, externalData: [{ key: 'location', value: location }] }],
      },
    });
  const table: [string, { model?: Uint8Array; tokenizer?: string; config?: string }, RegExp][] = [
    ['no model', { tokenizer: BARE }, /neither model\.onnx/],
    ['no tokenizer', { model: good }, /has no tokenizer\.json/],
    ['a cut model', { model: good.subarray(0, 40), tokenizer: BARE }, /cut short/],
    ['a tokenizer that is no JSON', { model: good, tokenizer: '{' }, /tokenizer\.json is not JSON/],
    ['a tokenizer that is a list', { model: good, tokenizer: '[]' }, /not a JSON object/],
    ['a tokenizer without a model', { model: good, tokenizer: '{}' }, /its model is no object/],
    [
      'a tokenizer that would make other ids here',
      { model: good, tokenizer: JSON.stringify({ ...TOKENIZER, pre_tokenizer: { type: 'UnicodeScripts' } }) },
      /tokenizer\.json cannot be used: its pre-tokenizer "UnicodeScripts" is not known here/,
    ],
    [
      'no padding token',
      { model: good, tokenizer: BARE },
      /Neither tokenizer\.json, tokenizer_config\.json nor config\.json tells the id of the padding token/,
    ],
    [
      'another width where the graph leaves it open',
      {
        model: interfaceOf([IDS, MASK], [{ ...HIDDEN, shape: ['b', 'p', 'w'] }]),
        config: '{"hidden_size":768}',
      },
      /config\.json says a hidden_size of 768, .* width of 8/,
    ],
    [
      'a config with text for a number',
      { model: good, config: '{"max_position_embeddings":"many"}' },
      /no number of positions/,
    ],
    [
      'another width',
      { model: interfaceOf([IDS, MASK], [{ ...HIDDEN, shape: ['b', 'p', 7] }]) },
      /declared 7 wide, .* width of 8/,
    ],
    [
      'pooled output alone',
      { model: interfaceOf([IDS, MASK], [{ name: 'pooled', shape: ['b', 8] }]) },
      /no output that is clearly/,
    ],
    [
      'two candidates',
      { model: interfaceOf([IDS, MASK], [{ name: 'a' }, { name: 'b' }]) },
      /no output that is clearly/,
    ],
    ['no mask', { model: interfaceOf([IDS], [HIDDEN]) }, /none for the attention mask/],
    [
      'position ids',
      { model: interfaceOf([IDS, MASK, { name: 'position_ids' }], [HIDDEN]) },
      /nothing feeds: position_ids/,
    ],
    [
      'pixels',
      { model: interfaceOf([IDS, MASK, { name: 'pixel_values' }], [HIDDEN]) },
      /nothing feeds: pixel_values/,
    ],
    [
      'a float mask',
      { model: interfaceOf([IDS, { ...MASK, type: 'float32' }], [HIDDEN]) },
      /attention_mask is not int64/,
    ],
    ['weights elsewhere', { model: external('../weights.bin') }, /does not lie beside it/],
    ['weights at an absolute place', { model: external('/etc/passwd') }, /does not lie beside it/],
    [
      'a model that was not fetched',
      { model: new TextEncoder().encode(POINTER) },
      /model: It is a Git LFS pointer/,
    ],
    [
      'a tokenizer that was not fetched',
      { model: good, tokenizer: POINTER },
      /tokenizer\.json is a Git LFS pointer/,
    ],
    [
      'a tokenizer that is a page',
      { model: good, tokenizer: '<!doctype html>' },
      /tokenizer\.json is an HTML page/,
    ],
    ['missing weights', { model: external('weights.bin') }, /weights\.bin is missing/],
  ];
  for (const [index, [what, files, message]] of table.entries()) {
    const directory = join(root, String(index));
    await mkdir(directory, { recursive: true });
    const tokenizer = files.tokenizer ?? (what === 'no tokenizer' ? undefined : JSON.stringify(TOKENIZER));
    if (files.model) await writeFile(join(directory, 'model.onnx'), files.model);
    if (tokenizer) await writeFile(join(directory, 'tokenizer.json'), tokenizer);
    if (files.config) await writeFile(join(directory, 'config.json'), files.config);
    await t.rejects(inspectEncoder(directory, { width: 8 }), { code: 'encoder-invalid', message }, what);
  }
});

test('data files beside the model are found', async (t) => {
  const directory = t.testdir();
  const file = await ExternalDataFile.create(join(directory, 'w.bin'));
  const placed = await file.append('float32', [1], [new Uint8Array(4)]);
  await file.close();
  const graph = createGraphBuilder('encoder');
  for (const { name } of [IDS, MASK]) graph.input(name, 'int64', ['batch', 'positions']);
  graph.node('last_hidden_state', 'Mul', [graph.weight('w', placed), 'input_ids']);
  graph.output('last_hidden_state', 'float32', ['batch', 'positions', 8]);
  await writeFile(join(directory, 'model.onnx'), graph.encode());
  await writeFile(join(directory, 'tokenizer.json'), JSON.stringify(TOKENIZER));
  t.match(await inspectEncoder(directory, { width: 8 }), { dataFiles: ['w.bin'], padTokenId: 3 });
  await writeFile(join(directory, 'w.bin'), POINTER);
  await t.rejects(inspectEncoder(directory, { width: 8 }), {
    message: /^w\.bin beside the encoder is a Git LFS pointer/,
  });
});
