import { InferenceSession, Tensor } from 'onnxruntime-node';
import { inferenceErrors } from './errors.ts';

/** A graph held in memory with named inputs and one float32 output. */
type Graph = {
  run(
    inputs: Readonly<Record<string, { values: Float32Array | BigInt64Array; shape: readonly number[] }>>,
  ): Promise<Float32Array>;
  close(): Promise<void>;
};

/**
 * Runs graphs in this very process, on the CPU: for the importer, which transforms kernels and measures what it made, and
 * has nothing else to do meanwhile. Errors: `inference-failed` where a graph gives something else than float32.
 */
export function createGraphRunner(options: { threads: number }): (model: Uint8Array) => Promise<Graph> {
  return async (model) => {
    const session = await InferenceSession.create(model, {
      intraOpNumThreads: options.threads,
      extra: { session: { intra_op: { allow_spinning: '0' } } },
      logSeverityLevel: 4,
    });
    const [output] = session.outputNames as [string];
    return {
      async run(inputs) {
        const feeds = Object.fromEntries(
          Object.entries(inputs).map(([name, { values, shape }]) => [
            name,
            values instanceof Float32Array
              ? new Tensor('float32', values, shape)
              : new Tensor('int64', values, shape),
          ]),
        );
        const data = (await session.run(feeds))[output]!.data;
        if (!(data instanceof Float32Array)) throw inferenceErrors.runFailed('A graph gives no float32.');
        return data;
      },
      close: () => session.release(),
    };
  };
}
