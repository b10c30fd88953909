/** What does the service add to the engine's own time, from acceptance to the published adapter? */
import type { JobTimings } from '../src/jobs/generate-queue.ts';
import { startRedis } from '../test/helpers/redis.ts';
import { type Benchmark, median, spread } from './report.ts';
import { generate, withService } from './service.ts';

const WARM_UP = 3;
const JOBS = 20;

export const serviceOverhead: Benchmark = {
  question: `accepted → adapter published, less embedding and decoding; ${JOBS} jobs one after the other, each with prompts of its own`,
  columns: [
    'queue',
    'engine (embedding + decoding)',
    'overhead',
    'of it queued',
    'batching',
    'writing',
    'client sees',
    'overhead / engine',
  ],
  async run() {
    const redis = await startRedis();
    try {
      return [await measure('embedded', undefined), await measure('redis', redis.url)];
    } finally {
      await redis.stop();
    }
  },
};

async function measure(name: string, queueUrl: string | undefined): Promise<string[]> {
  return withService({ queueUrl, batchWaitMs: 0 }, async ({ url }) => {
    const runs: (JobTimings & {
      readonly engineMs: number;
      readonly overheadMs: number;
      readonly clientMs: number;
    })[] = [];
    for (let seed = 0; seed < WARM_UP + JOBS; seed++) {
      const { job, clientMs } = await generate(url, seed);
      const timings = job.timings!;
      const engineMs = timings.embeddingMs + timings.decodingMs;
      if (seed >= WARM_UP)
        runs.push({ ...timings, engineMs, overheadMs: timings.totalMs - engineMs, clientMs });
    }
    const of = (pick: (run: (typeof runs)[number]) => number) => runs.map(pick);
    return [
      name,
      spread(
        of(({ engineMs }) => engineMs),
        'ms',
        0,
      ),
      spread(
        of(({ overheadMs }) => overheadMs),
        'ms',
        0,
      ),
      spread(
        of(({ queuedMs }) => queuedMs),
        'ms',
        0,
      ),
      spread(
        of(({ batchingMs }) => batchingMs),
        'ms',
        0,
      ),
      spread(
        of(({ writingMs }) => writingMs),
        'ms',
        0,
      ),
      spread(
        of(({ clientMs }) => clientMs),
        'ms',
        0,
      ),
      `${((100 * median(of(({ overheadMs }) => overheadMs))) / median(of(({ engineMs }) => engineMs))).toFixed(0)} %`,
    ];
  });
}
