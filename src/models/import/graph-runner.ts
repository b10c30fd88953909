/** Numbers that go into a graph or come out of one. */
export type GraphTensor = {
  readonly values: Float32Array | BigInt64Array;
  readonly shape: readonly number[];
};

/** A graph that can be run any number of times. */
export type RunnableGraph = {
  /** The graph's only output, float32. */
  run(inputs: Readonly<Record<string, GraphTensor>>): Promise<Float32Array>;
  close(): Promise<void>;
};

/** Opens ONNX graphs for the importer, which itself knows no runtime: transforming kernels, measuring what it made. */
export type GraphRunner = (model: Uint8Array) => Promise<RunnableGraph>;
