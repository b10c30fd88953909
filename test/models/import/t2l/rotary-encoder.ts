/**
 * A small encoder directory of the graph shape of gte-large-en-v1.5 as the Hub has it: token types, rotary positions, packed
 * queries, keys and values, a gated feed-forward, norms behind each block; `onnx/model.onnx` with its weights inside.
 */
import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { fillUniform, seededRandom } from '../../../../src/base/random.ts';
import { createGraphBuilder, type GraphBuilder } from '../../../../src/onnx/graph-builder.ts';
import { ELEMENT_TYPES } from '../../../../src/onnx/schema.ts';

const VOCABULARY = 30_522;
const LAYERS = 2;
const HEADS = 2;
const ROPE_BASE = 160_000;
const NORM_EPSILON = 1e-12;
const MASKED = -3.4028234663852886e38;

/** Writes the directory; `width` is a multiple of four. */
export async function writeRotaryEncoder(directory: string, width: number): Promise<void> {
  await mkdir(join(directory, 'onnx'), { recursive: true });
  await writeFile(join(directory, 'onnx', 'model.onnx'), rotaryGraph(width));
  const config = {
    architectures: ['NewModel'],
    hidden_size: width,
    max_position_embeddings: 8192,
    model_type: 'new',
    pad_token_id: 0,
    position_embedding_type: 'rope',
    type_vocab_size: 2,
  };
  await writeFile(join(directory, 'config.json'), JSON.stringify(config));
  const tokenizer = new URL('../../../../src/models/bert-uncased/tokenizer.json', import.meta.url);
  await copyFile(fileURLToPath(tokenizer), join(directory, 'tokenizer.json'));
}

function rotaryGraph(width: number): Uint8Array {
  const graph = createGraphBuilder('main_graph');
  const random = seededRandom(17);
  const weight = (name: string, shape: readonly number[], deviation: number, mean = 0) => {
    const values = new Float32Array(shape.reduce((a, b) => a * b));
    fillUniform(random, values, deviation);
    return graph.constant(
      name,
      values.map((value) => value + mean),
      shape,
    );
  };
  const norm = (name: string, x: string) =>
    graph.node(
      name,
      'LayerNormalization',
      [x, weight(`${name}.weight`, [width], 0.1, 1), weight(`${name}.bias`, [width], 0.1)],
      { axis: { int: -1 }, epsilon: { float: NORM_EPSILON } },
    );
  const dense = (name: string, x: string, from: number, to: number) =>
    graph.node(name, 'Add', [
      graph.node(`${name}.product`, 'MatMul', [
        x,
        weight(`${name}.weight`, [from, to], 1.5 / Math.sqrt(from)),
      ]),
      weight(`${name}.bias`, [to], 0.1),
    ]);
  const tools = toolsOf(graph);
  const sides = ['batch_size', 'sequence_length'];
  const ids = graph.input('input_ids', 'int64', sides);
  const mask = graph.input('attention_mask', 'int64', sides);
  const types = graph.input('token_type_ids', 'int64', sides);
  const words = graph.node('words.rows', 'Gather', [weight('words', [VOCABULARY, width], 1), ids]);
  const typed = graph.node('types.rows', 'Gather', [weight('types', [2, width], 0.3), types]);
  let x = norm('embeddings', graph.node('embedded', 'Add', [words, typed]));

  const head = width / HEADS;
  const angles = anglesOf(graph, ids, head);
  const turn = (name: string, values: string) => {
    const first = tools.slice(`${name}.first`, values, 0, head / 2);
    const second = tools.slice(`${name}.second`, values, head / 2, head);
    const minus = graph.node(`${name}.minus`, 'Neg', [second]);
    const turned = graph.node(`${name}.turned`, 'Concat', [minus, first], { axis: { int: -1 } });
    return graph.node(name, 'Add', [
      graph.node(`${name}.cos`, 'Mul', [values, angles.cos]),
      graph.node(`${name}.sin`, 'Mul', [turned, angles.sin]),
    ]);
  };
  const split = graph.constant('split', BigInt64Array.from([0, 0, HEADS, head].map(BigInt)), [4]);
  const joined = graph.constant('joined', BigInt64Array.from([0, 0, width].map(BigInt)), [3]);
  const scale = tools.number('scale', Math.sqrt(head));
  const bias = tools.maskBias(mask);
  for (let at = 0; at < LAYERS; at++) {
    const layer = `layer.${at}`;
    const packed = dense(`${layer}.qkv`, x, width, 3 * width);
    const heads = (part: string, index: number, perm: readonly number[], turns: boolean) => {
      const own = tools.slice(`${layer}.${part}.packed`, packed, index * width, (index + 1) * width);
      const parted = graph.node(`${layer}.${part}.parted`, 'Reshape', [own, split]);
      const value = graph.node(`${layer}.${part}`, 'Transpose', [parted], { perm: { ints: [0, 2, 1, 3] } });
      const placed = turns ? turn(`${layer}.${part}.rotary`, value) : value;
      if (perm[3] === 3) return placed;
      return graph.node(`${layer}.${part}.columns`, 'Transpose', [placed], { perm: { ints: perm } });
    };
    const query = heads('query', 0, [0, 1, 2, 3], true);
    const key = heads('key', 1, [0, 1, 3, 2], true);
    const value = heads('value', 2, [0, 1, 2, 3], false);
    const scores = graph.node(`${layer}.scores`, 'MatMul', [query, key]);
    const scaled = graph.node(`${layer}.scaled`, 'Div', [scores, scale]);
    const masked = graph.node(`${layer}.masked`, 'Add', [scaled, bias]);
    const shares = graph.node(`${layer}.shares`, 'Softmax', [masked], { axis: { int: -1 } });
    const mixed = graph.node(`${layer}.mixed`, 'MatMul', [shares, value]);
    const turned = graph.node(`${layer}.back`, 'Transpose', [mixed], { perm: { ints: [0, 2, 1, 3] } });
    const attention = dense(
      `${layer}.out`,
      graph.node(`${layer}.joined`, 'Reshape', [turned, joined]),
      width,
      width,
    );
    const attended = norm(`${layer}.attn_ln`, graph.node(`${layer}.attended`, 'Add', [x, attention]));
    const wide = dense(`${layer}.up_gate`, attended, width, 4 * width);
    const up = tools.slice(`${layer}.up`, wide, 0, 2 * width);
    const gate = tools.gelu(`${layer}.gate`, tools.slice(`${layer}.gate.in`, wide, 2 * width, 4 * width));
    const down = dense(`${layer}.down`, graph.node(`${layer}.gated`, 'Mul', [up, gate]), 2 * width, width);
    x = norm(`${layer}.mlp_ln`, graph.node(`${layer}.sum`, 'Add', [attended, down]));
  }
  graph.node('last_hidden_state', 'Identity', [x]);
  graph.output('last_hidden_state', 'float32', [...sides, width]);
  return graph.encode();
}

function toolsOf(graph: GraphBuilder) {
  const number = (name: string, value: number) => graph.constant(name, Float32Array.of(value), []);
  const integer = (name: string, value: number) => graph.constant(name, BigInt64Array.of(BigInt(value)), [1]);
  const last = integer('last-axis', -1);
  const one = number('one', 1);
  const half = number('half', 0.5);
  const root = number('root', Math.SQRT2);
  return {
    number,
    slice: (name: string, x: string, from: number, to: number) =>
      graph.node(name, 'Slice', [x, integer(`${name}.from`, from), integer(`${name}.to`, to), last]),
    gelu: (name: string, x: string) => {
      const erf = graph.node(`${name}.erf`, 'Erf', [graph.node(`${name}.inner`, 'Div', [x, root])]);
      const open = graph.node(`${name}.open`, 'Add', [erf, one]);
      return graph.node(name, 'Mul', [graph.node(`${name}.gated`, 'Mul', [x, open]), half]);
    },
    maskBias: (mask: string) => {
      const seen = graph.node('mask.seen', 'Cast', [mask], { to: { int: ELEMENT_TYPES.float32 } });
      const hidden = graph.node('mask.hidden', 'Sub', [one, seen]);
      const axes = graph.constant('mask.axes', BigInt64Array.of(1n, 2n), [2]);
      const bias = graph.node('mask.bias', 'Mul', [hidden, number('masked', MASKED)]);
      return graph.node('mask.rows', 'Unsqueeze', [bias, axes]);
    },
  };
}

/** Cosines and sines of every position of the input, `[positions, head]`. */
function anglesOf(graph: GraphBuilder, ids: string, head: number): { cos: string; sin: string } {
  const frequencies = Float32Array.from(
    { length: head },
    (_, i) => ROPE_BASE ** (-(2 * (i % (head / 2))) / head),
  );
  const length = graph.node('length', 'Shape', [ids], { start: { int: 1 }, end: { int: 2 } });
  const zero = graph.constant('position.zero', BigInt64Array.of(0n), []);
  const step = graph.constant('position.one', BigInt64Array.of(1n), []);
  const axis = graph.constant('position.axis', BigInt64Array.of(1n), [1]);
  const scalar = graph.node('length.scalar', 'Squeeze', [length]);
  const positions = graph.node('positions', 'Range', [zero, scalar, step]);
  const numbers = graph.node('positions.float', 'Cast', [positions], { to: { int: ELEMENT_TYPES.float32 } });
  const column = graph.node('positions.column', 'Unsqueeze', [numbers, axis]);
  const angles = graph.node('angles', 'Mul', [column, graph.constant('frequencies', frequencies, [1, head])]);
  return { cos: graph.node('cos', 'Cos', [angles]), sin: graph.node('sin', 'Sin', [angles]) };
}
