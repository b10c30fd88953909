/**
 * Attention that looks no further than texts reach, written into the graph of any exporter: no token attends to padding, so
 * keys and values behind the longest text of a run need not be looked at. With most texts far shorter than what they are
 * padded to, that is most of attention. Padding positions still ask, since a condition has their hidden states as well.
 */
import {
  ATTRIBUTE_TYPES,
  decodeModel,
  ELEMENT_TYPES,
  editModel,
  type NodeMessage,
  type TensorMessage,
} from '../../../onnx/schema.ts';

/**
 * Keys come in blocks of this many, so that few runs differ in their number: a text's numbers may depend on it in their last
 * digits, and must not depend on which other texts are in its run.
 */
export const KEY_BLOCK = 32;

/** The first operator set in which every operator written below is what it is today. */
const MIN_OPSET = 13;
const PREFIX = 'loradrop.visible-keys';
/** Operators that attention scales its scores with. */
const SCALING: ReadonlySet<string> = new Set(['Mul', 'Div']);

/** An input of a node, and its axis of positions. */
type Place = { readonly node: NodeMessage; readonly input: number; readonly axis: number };

/** One attention of a graph: where its keys, values and mask are cut. */
type Attention = { readonly keys: Place; readonly values: Place; readonly mask: Place };

/** What a graph's values are made by and used for. */
type Wiring = {
  readonly makers: ReadonlyMap<string, NodeMessage>;
  readonly users: ReadonlyMap<string, readonly { readonly node: NodeMessage }[]>;
  /** Constants by name. */
  readonly constants: ReadonlyMap<string, TensorMessage>;
};

/**
 * The model file with every attention cut to the keys that a text of the run has, in blocks of {@link KEY_BLOCK}; all keys
 * where a text has none. Undefined where the attention of the graph is not understood: then it runs as it is. `mask` names
 * the graph's input `[batch, positions]`.
 */
export function lookAtVisibleKeys(bytes: Uint8Array, mask: string): Uint8Array | undefined {
  const { opsetImport = [], graph = {} } = decodeModel(bytes);
  const opset = opsetImport.find(({ domain }) => !domain || domain === 'ai.onnx')?.version ?? 0;
  const nodes = graph.node ?? [];
  const fused = nodes.some(({ opType }) => /Attention$/.test(opType ?? ''));
  // What decoding makes of 64-bit numbers, editing does not.
  const constants = new Map((graph.initializer ?? []).map((tensor) => [tensor.name ?? '', tensor]));
  if (opset < MIN_OPSET || fused || !findAttentions(nodes, constants)) return undefined;
  return editModel(bytes, ({ graph: edited }) => {
    const cuts = new Map<NodeMessage, NodeMessage[]>();
    findAttentions(edited!.node!, constants)!.forEach((places, index) => {
      for (const part of ['keys', 'values', 'mask'] as const) {
        const place = places[part];
        const name = `${PREFIX}.${index}.${part}`;
        const whole = place.node.input![place.input]!;
        const cut = node(name, 'Slice', [whole, named('zero'), named('count'), named(`axis${place.axis}`)]);
        place.node.input![place.input] = name;
        cuts.set(place.node, [...(cuts.get(place.node) ?? []), cut]);
      }
    });
    edited!.node = [
      ...countNodes(mask),
      ...edited!.node!.flatMap((each) => [...(cuts.get(each) ?? []), each]),
    ];
  });
}

/** Every attention, or undefined where a Softmax is something else. */
function findAttentions(
  nodes: readonly NodeMessage[],
  constants: Wiring['constants'],
): Attention[] | undefined {
  const makers = new Map(nodes.flatMap((each) => (each.output ?? []).map((name) => [name, each] as const)));
  const users = Map.groupBy(
    nodes.flatMap((each) => (each.input ?? []).map((name) => ({ name, node: each }))),
    ({ name }) => name,
  );
  const softmaxes = nodes.filter(({ opType, domain }) => opType === 'Softmax' && !domain);
  const found = softmaxes.map((softmax) => findAttention(softmax, { makers, users, constants }));
  return found.length > 0 && found.every((each) => each !== undefined) ? found : undefined;
}

function findAttention(softmax: NodeMessage, wiring: Wiring): Attention | undefined {
  const { makers, users } = wiring;
  const sum = makers.get(softmax.input![0]!);
  if (sum?.opType !== 'Add') return undefined;
  const products = sum.input!.map((name) => productBehind(name, makers));
  const scored = products.findIndex((product) => product !== undefined);
  if (scored < 0 || products[1 - scored]) return undefined;
  const [use, another] = users.get(softmax.output![0]!) ?? [];
  // Anything between shares and values may count on the number of keys.
  if (use?.node.opType !== 'MatMul' || use.node.input![0] !== softmax.output![0] || another) return undefined;
  const product = products[scored]!;
  return {
    keys: beforeProjection(product.input![1]!, wiring) ?? { node: product, input: 1, axis: -1 },
    values: beforeProjection(use.node.input![1]!, wiring) ?? { node: use.node, input: 1, axis: -2 },
    mask: { node: sum, input: 1 - scored, axis: -1 },
  };
}

/**
 * The input of the dense layer that makes keys or values, where nothing but a bias, a split into heads and a transposition
 * lies between and the split leaves the number of positions open: cut there, the layer itself has less to do.
 */
function beforeProjection(name: string, { makers, users, constants }: Wiring): Place | undefined {
  const maker = makers.get(name);
  if (!maker || users.get(name)?.length !== 1) return undefined;
  const [first = '', second = ''] = maker.input ?? [];
  const further = (value: string) => beforeProjection(value, { makers, users, constants });
  if (maker.opType === 'Transpose') return further(first);
  if (maker.opType === 'Reshape')
    return leavesPositionsOpen(constants.get(second)) ? further(first) : undefined;
  if (maker.opType === 'Add') {
    if (constants.has(second)) return further(first);
    return constants.has(first) ? further(second) : undefined;
  }
  return maker.opType === 'MatMul' && constants.has(second) ? { node: maker, input: 0, axis: 1 } : undefined;
}

/** Whether a Reshape to `[batch, positions, heads, width]` takes the number of positions from its input. */
function leavesPositionsOpen(shape: TensorMessage | undefined): boolean {
  const { rawData, dataType } = shape ?? {};
  if (!rawData || dataType !== ELEMENT_TYPES.int64) return false;
  const sides = Array.from(new BigInt64Array(Uint8Array.from(rawData).buffer), Number);
  return sides.length === 4 && sides[0] === 0 && (sides[1] === 0 || sides[1] === -1);
}

/** The product of queries and keys, behind what scales it. */
function productBehind(name: string, makers: ReadonlyMap<string, NodeMessage>): NodeMessage | undefined {
  const maker = makers.get(name);
  if (maker?.opType === 'MatMul') return maker;
  if (!maker || !SCALING.has(maker.opType ?? '')) return undefined;
  return productBehind(maker.input![0]!, makers);
}

/** Constants, and the number of keys to look at, `[1]`: the longest text's tokens in whole blocks; all where a text has none. */
function countNodes(mask: string): NodeMessage[] {
  const integers = (part: string, ...values: number[]) =>
    constant(part, BigInt64Array.from(values.map(BigInt)), [values.length]);
  return [
    integers('zero', 0),
    integers('one', 1),
    integers('axis1', 1),
    integers('axis-1', -1),
    integers('axis-2', -2),
    integers('block', KEY_BLOCK),
    integers('round', KEY_BLOCK - 1),
    integers('all', 2 ** 31 - 1),
    node(named('mask'), 'Cast', [mask], { to: ELEMENT_TYPES.int64 }),
    node(named('tokens'), 'ReduceSum', [named('mask'), named('one')], { keepdims: 0 }),
    node(named('is-empty'), 'Equal', [named('tokens'), named('zero')]),
    node(named('reach'), 'Where', [named('is-empty'), named('all'), named('tokens')]),
    node(named('longest'), 'ReduceMax', [named('reach')], { keepdims: 1 }),
    node(named('rounded'), 'Add', [named('longest'), named('round')]),
    node(named('blocks'), 'Div', [named('rounded'), named('block')]),
    node(named('count'), 'Mul', [named('blocks'), named('block')]),
  ];
}

const named = (part: string) => `${PREFIX}.${part}`;

/** A node of the standard domain whose only output bears its name. */
function node(
  name: string,
  opType: string,
  input: string[],
  integers: Readonly<Record<string, number>> = {},
): NodeMessage {
  const attribute = Object.entries(integers).map(([key, i]) => ({ name: key, type: ATTRIBUTE_TYPES.int, i }));
  return { name, opType, input, output: [name], attribute };
}

/** As a node and not as an initialiser: files of older format versions list initialisers among the inputs. */
function constant(part: string, values: BigInt64Array, dims: number[]): NodeMessage {
  const rawData = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const t = { dims, dataType: ELEMENT_TYPES.int64, rawData };
  return {
    ...node(named(part), 'Constant', []),
    attribute: [{ name: 'value', type: ATTRIBUTE_TYPES.tensor, t }],
  };
}
