/** Numbers that go into a graph or come out of one. */
export type GraphTensor<Values = Float32Array | BigInt64Array> = {
  readonly values: Values;
  readonly shape: readonly number[];
};

/** A graph that can be run any number of times. */
export type RunnableGraph = {
  /**
   * Runs it and writes its only output, float32, into `output`: memory of the caller's, since what a runtime allocates for
   * JavaScript stays until the next garbage collection, and these are hundreds of megabytes each.
   */
  run(inputs: Readonly<Record<string, GraphTensor>>, output: GraphTensor<Float32Array>): Promise<void>;
  close(): Promise<void>;
};

/** Opens ONNX graphs for the importer, which itself knows no runtime: transforming kernels, measuring what it made. */
export type GraphRunner = (model: Uint8Array) => Promise<RunnableGraph>;
