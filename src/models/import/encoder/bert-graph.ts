/** A BERT body as an ONNX graph: post-LayerNorm, erf GELU, additive float masks; the last hidden state of every position. */
import { writeFile } from 'node:fs/promises';
import { ExternalDataFile, type ExternalTensor } from '../../../onnx/external-data.ts';
import { createGraphBuilder, type GraphBuilder } from '../../../onnx/graph-builder.ts';

/** Sizes of a BERT body. */
export type BertShape = {
  readonly vocabulary: number;
  readonly positions: number;
  readonly width: number;
  readonly layers: number;
  readonly heads: number;
  readonly feedForward: number;
};

/** A weight of a BERT body; matrices are `[in, out]`. */
export type BertWeight = { readonly name: string; readonly shape: readonly number[] };

/** LayerNorm epsilon and number of token types of every published BERT. */
const NORM_EPSILON = 1e-12;
const TOKEN_TYPES = 2;
/** Added to the scores of masked keys: the most negative float32, which leaves a fully masked row uniform (spec §1.3). */
const MASKED = -3.4028234663852886e38;
const FLOAT = 1;

/** The weights of a BERT body in the order they are stored. */
function bertWeights({ vocabulary, positions, width, layers, feedForward }: BertShape): BertWeight[] {
  const norm = (name: string): BertWeight[] => [
    { name: `${name}.weight`, shape: [width] },
    { name: `${name}.bias`, shape: [width] },
  ];
  const dense = (name: string, from: number, to: number): BertWeight[] => [
    { name: `${name}.weight`, shape: [from, to] },
    { name: `${name}.bias`, shape: [to] },
  ];
  const layer = (at: number) => [
    ...['query', 'key', 'value', 'output'].flatMap((part) => dense(`layer${at}.${part}`, width, width)),
    ...norm(`layer${at}.attention-norm`),
    ...dense(`layer${at}.up`, width, feedForward),
    ...dense(`layer${at}.down`, feedForward, width),
    ...norm(`layer${at}.norm`),
  ];
  return [
    { name: 'words', shape: [vocabulary, width] },
    { name: 'positions', shape: [positions, width] },
    { name: 'token-types', shape: [TOKEN_TYPES, width] },
    ...norm('embedding-norm'),
    ...Array.from({ length: layers }, (_, at) => layer(at)).flat(),
  ];
}

/**
 * Writes a BERT encoder: the model file, and beside it its weights in a data file. Inputs `input_ids`, `attention_mask` and
 * `token_type_ids`, int64 `[batch, positions]`; output `last_hidden_state`, float32 `[batch, positions, width]`.
 * `numbers` gives each weight's values in row-major order.
 */
export async function writeBertEncoder(
  shape: BertShape,
  numbers: (weight: BertWeight) => Iterable<Float32Array>,
  paths: { model: string; data: string },
): Promise<void> {
  const placed = new Map<string, ExternalTensor>();
  const file = await ExternalDataFile.create(paths.data);
  try {
    for (const weight of bertWeights(shape)) {
      placed.set(weight.name, await file.append('float32', weight.shape, asBytes(numbers(weight))));
    }
  } finally {
    await file.close();
  }
  await writeFile(paths.model, bertGraph(shape, placed), { flag: 'wx', flush: true });
}

function bertGraph(shape: BertShape, placed: ReadonlyMap<string, ExternalTensor>): Uint8Array {
  const graph = createGraphBuilder('bert');
  const weight = (name: string) => graph.weight(name, placed.get(name)!);
  const sides = ['batch', 'positions'];
  const ids = graph.input('input_ids', 'int64', sides);
  const mask = graph.input('attention_mask', 'int64', sides);
  const types = graph.input('token_type_ids', 'int64', sides);
  const norm = (name: string, x: string) =>
    graph.node(name, 'LayerNormalization', [x, weight(`${name}.weight`), weight(`${name}.bias`)], {
      axis: { int: -1 },
      epsilon: { float: NORM_EPSILON },
    });
  const dense = (name: string, x: string) =>
    graph.node(name, 'Add', [
      graph.node(`${name}.product`, 'MatMul', [x, weight(`${name}.weight`)]),
      weight(`${name}.bias`),
    ]);

  const start = graph.constant('zero', BigInt64Array.of(0n), [1]);
  const length = graph.node('length', 'Shape', [ids], { start: { int: 1 }, end: { int: 2 } });
  const positions = graph.node('position-rows', 'Slice', [weight('positions'), start, length, start]);
  const words = graph.node('word-rows', 'Gather', [weight('words'), ids]);
  const typeRows = graph.node('token-type-rows', 'Gather', [weight('token-types'), types]);
  const typed = graph.node('typed', 'Add', [words, typeRows]);
  let x = norm('embedding-norm', graph.node('embedded', 'Add', [typed, positions]));

  const bias = maskBias(graph, mask);
  const headWidth = shape.width / shape.heads;
  const split = graph.constant('split', BigInt64Array.from([0, 0, shape.heads, headWidth].map(BigInt)), [4]);
  const joined = graph.constant('joined', BigInt64Array.from([0, 0, shape.width].map(BigInt)), [3]);
  const scale = graph.constant('scale', Float32Array.of(1 / Math.sqrt(headWidth)), []);
  const gelu = geluOf(graph);

  for (let at = 0; at < shape.layers; at++) {
    const layer = `layer${at}`;
    const heads = (part: string, perm: readonly number[]) => {
      const parted = graph.node(`${layer}.${part}.parted`, 'Reshape', [dense(`${layer}.${part}`, x), split]);
      return graph.node(`${layer}.${part}.heads`, 'Transpose', [parted], { perm: { ints: perm } });
    };
    const query = heads('query', [0, 2, 1, 3]);
    const key = heads('key', [0, 2, 3, 1]);
    const value = heads('value', [0, 2, 1, 3]);
    const scores = graph.node(`${layer}.scores`, 'MatMul', [query, key]);
    const scaled = graph.node(`${layer}.scaled`, 'Mul', [scores, scale]);
    const masked = graph.node(`${layer}.masked`, 'Add', [scaled, bias]);
    const shares = graph.node(`${layer}.shares`, 'Softmax', [masked], { axis: { int: -1 } });
    const mixed = graph.node(`${layer}.mixed`, 'MatMul', [shares, value]);
    const turned = graph.node(`${layer}.turned`, 'Transpose', [mixed], { perm: { ints: [0, 2, 1, 3] } });
    const attention = dense(`${layer}.output`, graph.node(`${layer}.joined`, 'Reshape', [turned, joined]));
    const attended = norm(`${layer}.attention-norm`, graph.node(`${layer}.attended`, 'Add', [x, attention]));
    const wide = gelu(`${layer}.gelu`, dense(`${layer}.up`, attended));
    const sum = graph.node(`${layer}.sum`, 'Add', [attended, dense(`${layer}.down`, wide)]);
    x = norm(`${layer}.norm`, sum);
  }
  graph.node('last_hidden_state', 'Identity', [x]);
  graph.output('last_hidden_state', 'float32', [...sides, shape.width]);
  return graph.encode();
}

/** The mask as a term of the scores: 0 for keys to see, {@link MASKED} for the others, `[batch, 1, 1, positions]`. */
function maskBias(graph: GraphBuilder, mask: string): string {
  const one = graph.constant('one', Float32Array.of(1), []);
  const masked = graph.constant('masked', Float32Array.of(MASKED), []);
  const axes = graph.constant('mask.axes', BigInt64Array.of(1n, 2n), [2]);
  const seen = graph.node('mask.seen', 'Cast', [mask], { to: { int: FLOAT } });
  const hidden = graph.node('mask.hidden', 'Sub', [one, seen]);
  const bias = graph.node('mask.bias', 'Mul', [hidden, masked]);
  return graph.node('mask.rows', 'Unsqueeze', [bias, axes]);
}

/** GELU by the error function, x/2 · (1 + erf(x/√2)), as a function that adds it to the graph. */
function geluOf(graph: GraphBuilder): (name: string, x: string) => string {
  const root = graph.constant('gelu.root', Float32Array.of(Math.SQRT2), []);
  const one = graph.constant('gelu.one', Float32Array.of(1), []);
  const half = graph.constant('gelu.half', Float32Array.of(0.5), []);
  return (name, x) => {
    const inner = graph.node(`${name}.inner`, 'Div', [x, root]);
    const erf = graph.node(`${name}.erf`, 'Erf', [inner]);
    const gate = graph.node(`${name}.gate`, 'Add', [erf, one]);
    const gated = graph.node(`${name}.gated`, 'Mul', [x, gate]);
    return graph.node(name, 'Mul', [gated, half]);
  };
}

function* asBytes(chunks: Iterable<Float32Array>): Generator<Uint8Array> {
  for (const chunk of chunks) yield new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength);
}
