/** How long does the main process's event loop stand still while adapters are made? */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { type Benchmark, spread } from './report.ts';
import { generate, withService } from './service.ts';

const RESOLUTION_MS = 1;
const JOBS = 10;

export const eventLoopGap: Benchmark = {
  question: `largest gap of the serving process’s event loop during ${JOBS} generations (embedded queue, all in one process)`,
  columns: ['decode', 'largest gap', '99.9th percentile', 'median'],
  async run() {
    return withService({}, async ({ url }) => {
      await generate(url, 0);
      const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
      const decoding: number[] = [];
      delay.enable();
      for (let seed = 1; seed <= JOBS; seed++)
        decoding.push((await generate(url, seed)).job.timings!.decodingMs);
      delay.disable();
      const ms = (nanoseconds: number) => `${(nanoseconds / 1e6).toFixed(1)} ms`;
      return [
        [spread(decoding, 'ms', 0), ms(delay.max), ms(delay.percentile(99.9)), ms(delay.percentile(50))],
      ];
    });
  },
};
