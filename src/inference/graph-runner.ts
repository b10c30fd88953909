import type { GraphRunner } from '../models/graph-runner.ts';
import { InferenceSession, Tensor } from './onnx-runtime.ts';

/**
 * Runs graphs in this very process, on the CPU: for the importer, which has nothing else to do meanwhile. Sessions keep no
 * memory between runs, so that an import's memory is bounded by one run, but with `keepsMemory`: what is timed should find
 * its memory as it does in an engine.
 */
export function createGraphRunner(options: { threads: number; keepsMemory?: boolean }): GraphRunner {
  const { threads, keepsMemory = false } = options;
  return async (model) => {
    const session = await InferenceSession.create(model, {
      intraOpNumThreads: threads,
      enableCpuMemArena: keepsMemory,
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
