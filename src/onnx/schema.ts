/**
 * The part of the ONNX file format that Loradrop reads and writes, as a protobuf schema.
 * Message names, field names and field numbers are those of `onnx.proto` (proto2) of the ONNX standard, IR version 8.
 */
import protobuf from 'protobufjs/light.js';

/** Fields of `onnx.proto`: name → `[number, type]`, `[number, type, 'repeated']` or `[number, type, 'packed']`. */
const MESSAGES: Readonly<Record<string, Readonly<Record<string, readonly [number, string, string?]>>>> = {
  ModelProto: {
    irVersion: [1, 'int64'],
    producerName: [2, 'string'],
    producerVersion: [3, 'string'],
    graph: [7, 'GraphProto'],
    opsetImport: [8, 'OperatorSetIdProto', 'repeated'],
    metadataProps: [14, 'StringStringEntryProto', 'repeated'],
    functions: [25, 'FunctionProto', 'repeated'],
  },
  OperatorSetIdProto: { domain: [1, 'string'], version: [2, 'int64'] },
  StringStringEntryProto: { key: [1, 'string'], value: [2, 'string'] },
  FunctionProto: { name: [1, 'string'], node: [7, 'NodeProto', 'repeated'] },
  GraphProto: {
    node: [1, 'NodeProto', 'repeated'],
    name: [2, 'string'],
    initializer: [5, 'TensorProto', 'repeated'],
    input: [11, 'ValueInfoProto', 'repeated'],
    output: [12, 'ValueInfoProto', 'repeated'],
    sparseInitializer: [15, 'SparseTensorProto', 'repeated'],
  },
  NodeProto: {
    input: [1, 'string', 'repeated'],
    output: [2, 'string', 'repeated'],
    name: [3, 'string'],
    opType: [4, 'string'],
    attribute: [5, 'AttributeProto', 'repeated'],
    domain: [7, 'string'],
  },
  AttributeProto: {
    name: [1, 'string'],
    f: [2, 'float'],
    i: [3, 'int64'],
    t: [5, 'TensorProto'],
    g: [6, 'GraphProto'],
    ints: [8, 'int64', 'repeated'],
    tensors: [10, 'TensorProto', 'repeated'],
    graphs: [11, 'GraphProto', 'repeated'],
    type: [20, 'int32'],
    sparseTensor: [22, 'SparseTensorProto'],
    sparseTensors: [23, 'SparseTensorProto', 'repeated'],
  },
  TensorProto: {
    dims: [1, 'int64', 'repeated'],
    dataType: [2, 'int32'],
    name: [8, 'string'],
    rawData: [9, 'bytes'],
    externalData: [13, 'StringStringEntryProto', 'repeated'],
    dataLocation: [14, 'int32'],
  },
  SparseTensorProto: { values: [1, 'TensorProto'], indices: [2, 'TensorProto'] },
  ValueInfoProto: { name: [1, 'string'], type: [2, 'TypeProto'] },
  TypeProto: { tensorType: [1, 'TensorTypeProto'] },
  TensorTypeProto: { elemType: [1, 'int32'], shape: [2, 'TensorShapeProto'] },
  TensorShapeProto: { dim: [1, 'DimensionProto', 'repeated'] },
  DimensionProto: { dimValue: [1, 'int64'], dimParam: [2, 'string'] },
};

const root = protobuf.Root.fromJSON({
  nested: Object.fromEntries(
    Object.entries(MESSAGES).map(([message, fields]) => [
      message,
      {
        fields: Object.fromEntries(
          Object.entries(fields).map(([name, [id, type, rule]]) => [
            name,
            // proto2 repeats scalars unpacked unless told otherwise; readers of both forms exist, writers should not differ.
            rule ? { id, type, rule, options: { packed: false } } : { id, type },
          ]),
        ),
      },
    ]),
  ),
});

/** `StringStringEntryProto`. */
export type Entry = { key?: string; value?: string };
/** `TensorProto` without the typed data fields: our own files use `rawData` or external data alone. */
export type TensorMessage = {
  dims?: number[];
  dataType?: number;
  name?: string;
  rawData?: Uint8Array;
  externalData?: Entry[];
  dataLocation?: number;
};
/** `SparseTensorProto`. */
export type SparseTensorMessage = { values?: TensorMessage; indices?: TensorMessage };
/** `AttributeProto`, the kinds Loradrop writes and those that can hold tensors or graphs. */
export type AttributeMessage = {
  name?: string;
  f?: number;
  i?: number;
  t?: TensorMessage;
  g?: GraphMessage;
  ints?: number[];
  tensors?: TensorMessage[];
  graphs?: GraphMessage[];
  type?: number;
  sparseTensor?: SparseTensorMessage;
  sparseTensors?: SparseTensorMessage[];
};
/** `NodeProto`. */
export type NodeMessage = {
  input?: string[];
  output?: string[];
  name?: string;
  opType?: string;
  attribute?: AttributeMessage[];
  domain?: string;
};
/** `ValueInfoProto` of a tensor. */
export type ValueMessage = {
  name?: string;
  type?: {
    tensorType?: { elemType?: number; shape?: { dim?: { dimValue?: number; dimParam?: string }[] } };
  };
};
/** `GraphProto`. */
export type GraphMessage = {
  node?: NodeMessage[];
  name?: string;
  initializer?: TensorMessage[];
  input?: ValueMessage[];
  output?: ValueMessage[];
  sparseInitializer?: SparseTensorMessage[];
};
/** `ModelProto`. */
export type ModelMessage = {
  irVersion?: number;
  producerName?: string;
  producerVersion?: string;
  graph?: GraphMessage;
  opsetImport?: { domain?: string; version?: number }[];
  metadataProps?: Entry[];
  functions?: { name?: string; node?: NodeMessage[] }[];
};

/** `TensorProto.DataType`: the numbers of element types, under the names NumPy gives them. */
export const ELEMENT_TYPES = {
  float32: 1,
  uint8: 2,
  int8: 3,
  uint16: 4,
  int16: 5,
  int32: 6,
  int64: 7,
  string: 8,
  bool: 9,
  float16: 10,
  float64: 11,
  uint32: 12,
  uint64: 13,
  bfloat16: 16,
} as const;
/** One of {@link ELEMENT_TYPES}. */
export type ElementType = keyof typeof ELEMENT_TYPES;

/** `TensorProto.DataLocation.EXTERNAL`: the numbers lie in another file. */
export const DATA_LOCATION_EXTERNAL = 1;

/** `AttributeProto.AttributeType` of the kinds Loradrop writes. */
export const ATTRIBUTE_TYPES = { float: 1, int: 2, tensor: 4, ints: 7 } as const;

const modelType = root.lookupType('ModelProto');

/** The bytes of a model file. */
export function encodeModel(model: ModelMessage): Uint8Array {
  return modelType.encode(modelType.fromObject(model)).finish();
}

/**
 * The messages of a model file; 64-bit numbers become numbers, absent fields stay absent, bytes are views of the input.
 * Throws whatever the protobuf library throws on bytes that are no such message.
 */
export function decodeModel(bytes: Uint8Array): ModelMessage {
  return modelType.toObject(modelType.decode(bytes), { longs: Number }) as ModelMessage;
}

/**
 * The bytes of a model file after `edit` has changed its messages in place. What the schema above leaves out of `onnx.proto`
 * is kept as it is, so that files of any exporter survive; a zero that was spelled out may be left out, which reads the same.
 * 64-bit numbers come as the protobuf library has them: read numbers from {@link decodeModel}. Throws as that does.
 */
export function editModel(bytes: Uint8Array, edit: (model: ModelMessage) => void): Uint8Array {
  const reader = protobuf.Reader.create(bytes);
  reader.discardUnknown = false;
  const model = modelType.decode(reader);
  edit(model as ModelMessage);
  return modelType.encode(model).finish();
}
