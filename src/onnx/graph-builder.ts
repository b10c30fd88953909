import type { ExternalTensor } from './external-data.ts';
import {
  ATTRIBUTE_TYPES,
  type AttributeMessage,
  DATA_LOCATION_EXTERNAL,
  ELEMENT_TYPES,
  type ElementType,
  encodeModel,
  type NodeMessage,
  type TensorMessage,
  type ValueMessage,
} from './schema.ts';

/** Operator set of the files we write: the first with LayerNormalization. */
const OPSET_VERSION = 17;
/** File format version that belongs to an operator set, as far as they are used. */
const IR_VERSIONS = { 17: 8, 26: 13 } as const;

/** Sides of a tensor; a string names a side that is only known at run time. */
export type GraphShape = readonly (number | string)[];

/** An attribute of a node with its kind, since `1` alone does not tell an integer from a float. */
export type Attribute =
  | { readonly int: number }
  | { readonly ints: readonly number[] }
  | { readonly float: number };

/** Collects one graph. Values are the strings that name them; every name is used once. */
export type GraphBuilder = {
  /** Declares an input and returns its name. */
  input(name: string, elementType: ElementType, shape: GraphShape): string;
  /** Adds a small constant whose numbers lie in the model file; the array decides the type, and BigInt64Array is int64. */
  constant(
    name: string,
    values: Float32Array | Float64Array | BigInt64Array,
    shape: readonly number[],
  ): string;
  /** Adds a weight whose numbers lie in an external data file. */
  weight(name: string, tensor: ExternalTensor): string;
  /** Adds a node with one output of that name, and returns it. */
  node(
    name: string,
    operator: string,
    inputs: readonly string[],
    attributes?: Readonly<Record<string, Attribute>>,
  ): string;
  /** Declares the value of that name an output. */
  output(name: string, elementType: ElementType, shape: GraphShape): void;
  /** The bytes of the model file: the same calls give the same bytes. */
  encode(): Uint8Array;
};

/** Starts an empty graph of standard operators: those of `opset`, by default the oldest that has all that decoders need. */
export function createGraphBuilder(
  graphName: string,
  {
    metadata = {},
    opset = OPSET_VERSION,
  }: { metadata?: Readonly<Record<string, string>>; opset?: keyof typeof IR_VERSIONS } = {},
): GraphBuilder {
  const names = new Set<string>();
  const inputs: ValueMessage[] = [];
  const outputs: ValueMessage[] = [];
  const initializers: TensorMessage[] = [];
  const nodes: NodeMessage[] = [];

  const claim = (name: string) => {
    if (names.has(name)) throw new Error(`The graph has two values named ${name}.`);
    names.add(name);
    return name;
  };
  const refer = (name: string) => {
    if (!names.has(name)) throw new Error(`The graph has no value named ${name}.`);
    return name;
  };

  return {
    input(name, elementType, shape) {
      inputs.push(valueMessage(claim(name), elementType, shape));
      return name;
    },
    constant(name, values, shape) {
      initializers.push({
        name: claim(name),
        dataType: elementTypeOf(values),
        dims: [...shape],
        rawData: new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
      });
      return name;
    },
    weight(name, tensor) {
      initializers.push({
        name: claim(name),
        dataType: ELEMENT_TYPES[tensor.elementType],
        dims: [...tensor.shape],
        dataLocation: DATA_LOCATION_EXTERNAL,
        externalData: [
          { key: 'location', value: tensor.location },
          { key: 'offset', value: String(tensor.offsetBytes) },
          { key: 'length', value: String(tensor.bytes) },
        ],
      });
      return name;
    },
    node(name, operator, nodeInputs, attributes = {}) {
      // A node needs no name of its own: that of its output says which it is.
      nodes.push({
        opType: operator,
        input: nodeInputs.map(refer),
        output: [claim(name)],
        attribute: Object.entries(attributes).map(([key, value]) => attributeMessage(key, value)),
      });
      return name;
    },
    output(name, elementType, shape) {
      outputs.push(valueMessage(refer(name), elementType, shape));
    },
    encode() {
      return encodeModel({
        irVersion: IR_VERSIONS[opset],
        producerName: 'loradrop',
        opsetImport: [{ domain: '', version: opset }],
        metadataProps: Object.entries(metadata).map(([key, value]) => ({ key, value })),
        graph: { name: graphName, node: nodes, initializer: initializers, input: inputs, output: outputs },
      });
    },
  };
}

function elementTypeOf(values: Float32Array | Float64Array | BigInt64Array): number {
  if (values instanceof Float32Array) return ELEMENT_TYPES.float32;
  return values instanceof Float64Array ? ELEMENT_TYPES.float64 : ELEMENT_TYPES.int64;
}

function valueMessage(name: string, elementType: ElementType, shape: GraphShape): ValueMessage {
  const dim = shape.map((side) => (typeof side === 'number' ? { dimValue: side } : { dimParam: side }));
  return { name, type: { tensorType: { elemType: ELEMENT_TYPES[elementType], shape: { dim } } } };
}

function attributeMessage(name: string, value: Attribute): AttributeMessage {
  if ('int' in value) return { name, type: ATTRIBUTE_TYPES.int, i: value.int };
  if ('ints' in value) return { name, type: ATTRIBUTE_TYPES.ints, ints: [...value.ints] };
  return { name, type: ATTRIBUTE_TYPES.float, f: value.float };
}
