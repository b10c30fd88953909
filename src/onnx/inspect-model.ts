import { readFile, stat } from 'node:fs/promises';
import { onnxErrors } from './errors.ts';
import {
  type AttributeMessage,
  DATA_LOCATION_EXTERNAL,
  decodeModel,
  ELEMENT_TYPES,
  type ElementType,
  type GraphMessage,
  type ModelMessage,
  type NodeMessage,
  type SparseTensorMessage,
  type TensorMessage,
  type ValueMessage,
} from './schema.ts';

/** Largest model file: protobuf itself cannot hold a longer message. Larger weights lie in external data files. */
const MAX_MODEL_BYTES = 2 ** 31 - 1;
/** Deepest nesting of graphs in attributes (If, Loop, Scan). Real exports stay below four. */
const MAX_GRAPH_DEPTH = 8;
/** Most sides of a declared shape; no operator in use has more than eight. */
const MAX_RANK = 16;

/** An input or output of a graph. */
export type GraphValue = {
  readonly name: string;
  /** Undefined for values that are no tensors or of a type we have no name for. */
  readonly elementType: ElementType | undefined;
  /** A number is fixed, a string names a side known at run time, `undefined` says nothing; undefined as a whole when not declared. */
  readonly shape: readonly (number | string | undefined)[] | undefined;
};

/** A reference to numbers in another file. */
export type ExternalReference = {
  readonly tensor: string;
  /** As the file says it, unchecked: callers decide which places they accept. */
  readonly location: string;
  readonly offsetBytes: number;
  /** Undefined: to the end of the file. */
  readonly bytes: number | undefined;
};

/** What can be told about a model file without running it. */
export type ModelFacts = {
  /** Inputs to feed (initialisers with the same name, as old files list them, are left out). */
  readonly inputs: readonly GraphValue[];
  readonly outputs: readonly GraphValue[];
  /** Operator types in use, with their domain when it is not the standard one (`com.microsoft.Attention`), nested graphs included. */
  readonly operators: ReadonlySet<string>;
  /** External data of every tensor, nested graphs and attributes included. */
  readonly external: readonly ExternalReference[];
};

/**
 * Reads a model file and reports its interface, operators and external data.
 * Errors: `onnx-invalid` for bytes that are no ONNX model or exceed a limit.
 */
export async function inspectModel(path: string): Promise<ModelFacts> {
  const { size } = await stat(path);
  if (size > MAX_MODEL_BYTES)
    throw onnxErrors.invalid(`${size} bytes exceed the limit of ${MAX_MODEL_BYTES}.`);
  return inspectModelBytes(await readFile(path));
}

/** As {@link inspectModel}, for the bytes of a model file. */
export function inspectModelBytes(bytes: Uint8Array): ModelFacts {
  let model: ModelMessage;
  try {
    model = decodeModel(bytes);
  } catch (cause) {
    throw onnxErrors.invalid('The bytes are not an ONNX model, or it is cut short.', { cause });
  }
  const { graph } = model;
  if (!model.irVersion || !model.opsetImport?.length || !graph?.node?.length || !graph.output?.length) {
    throw onnxErrors.invalid('The model lacks its version, its operator set, its nodes or its outputs.');
  }
  const operators = new Set<string>();
  const external: ExternalReference[] = [];
  visitGraph(graph, 0);
  for (const { node = [] } of model.functions ?? []) for (const inner of node) visitNode(inner, 0);

  const initialised = new Set(graph.initializer?.map(({ name }) => name));
  return {
    inputs: (graph.input ?? []).filter(({ name }) => !initialised.has(name)).map(graphValue),
    outputs: graph.output.map(graphValue),
    operators,
    external,
  };

  function visitGraph(inner: GraphMessage, depth: number): void {
    if (depth > MAX_GRAPH_DEPTH) throw onnxErrors.invalid(`Graphs nest deeper than ${MAX_GRAPH_DEPTH}.`);
    for (const tensor of inner.initializer ?? []) visitTensor(tensor);
    for (const sparse of inner.sparseInitializer ?? []) visitSparse(sparse);
    for (const node of inner.node ?? []) visitNode(node, depth);
  }
  function visitNode(node: NodeMessage, depth: number): void {
    operators.add(node.domain ? `${node.domain}.${node.opType ?? ''}` : (node.opType ?? ''));
    for (const attribute of node.attribute ?? []) visitAttribute(attribute, depth);
  }
  function visitAttribute(attribute: AttributeMessage, depth: number): void {
    for (const tensor of [attribute.t, ...(attribute.tensors ?? [])]) if (tensor) visitTensor(tensor);
    for (const sparse of [attribute.sparseTensor, ...(attribute.sparseTensors ?? [])]) {
      if (sparse) visitSparse(sparse);
    }
    for (const inner of [attribute.g, ...(attribute.graphs ?? [])]) if (inner) visitGraph(inner, depth + 1);
  }
  function visitSparse(sparse: SparseTensorMessage): void {
    if (sparse.values) visitTensor(sparse.values);
    if (sparse.indices) visitTensor(sparse.indices);
  }
  function visitTensor(tensor: TensorMessage): void {
    if (tensor.dataLocation === DATA_LOCATION_EXTERNAL) external.push(externalReference(tensor));
  }
}

function externalReference(tensor: TensorMessage): ExternalReference {
  const entries = new Map(tensor.externalData?.map(({ key, value }) => [key, value]));
  const name = tensor.name ?? '';
  const location = entries.get('location');
  if (!location) throw onnxErrors.invalid(`Tensor ${name} lies in an external file without a name.`);
  const count = (key: string) => {
    const text = entries.get(key);
    if (text === undefined) return undefined;
    const value = Number(text);
    if (!/^[0-9]+$/.test(text) || !Number.isSafeInteger(value)) {
      throw onnxErrors.invalid(`Tensor ${name} has an external ${key} that is no number of bytes.`);
    }
    return value;
  };
  return { tensor: name, location, offsetBytes: count('offset') ?? 0, bytes: count('length') };
}

const elementTypeNames = new Map<number | undefined, ElementType>(
  Object.entries(ELEMENT_TYPES).map(([name, number]) => [number, name as ElementType]),
);

function graphValue({ name = '', type }: ValueMessage): GraphValue {
  const dim = type?.tensorType?.shape ? (type.tensorType.shape.dim ?? []) : undefined;
  if (dim && dim.length > MAX_RANK)
    throw onnxErrors.invalid(`Value ${name} has more than ${MAX_RANK} sides.`);
  return {
    name,
    elementType: elementTypeNames.get(type?.tensorType?.elemType),
    shape: dim?.map(({ dimValue, dimParam }) => dimValue ?? (dimParam || undefined)),
  };
}
