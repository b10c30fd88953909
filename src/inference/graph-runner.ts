import { InferenceSession, Tensor } from 'onnxruntime-node';
import type { GraphRunner } from '../models/graph-runner.ts';

/**
 * Runs graphs in this very process, on the CPU: for the importer, which has nothing else to do meanwhile. Sessions keep no
 * memory between runs, so that an import's memory is bounded by one run.
 */
export function createGraphRunner(options: { threads: number }): GraphRunner {
  return async (model) => {
    const session = await InferenceSession.create(model, {
      intraOpNumThreads: options.threads,
      enableCpuMemArena: false,
      enableMemPattern: false,
      extra: { session: { intra_op: { allow_spinning: '0' } } },
      logSeverityLevel: 4,
    });
    const [name] = session.outputNames as [string];
    return {
      async run(inputs, output) {
        const feeds = Object.fromEntries(
          Object.entries(inputs).map(([input, { values, shape }]) => [
            input,
            values instanceof Float32Array
              ? new Tensor('float32', values, shape)
              : new Tensor('int64', values, shape),
          ]),
        );
        await session.run(feeds, { [name]: new Tensor('float32', output.values, output.shape) });
      },
      close: () => session.release(),
    };
  };
}
