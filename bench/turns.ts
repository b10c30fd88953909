/** How long does a tenant's one job wait beside a thousand of another? */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { openGenerateQueue } from '../src/jobs/generate-queue.ts';
import { createWorkers } from '../src/jobs/workers.ts';
import { createLogger } from '../src/observability/logger.ts';
import { openQueueBackend } from '../src/queue/open-queue-backend.ts';
import { idleHandlers, somePayload, someResult } from '../test/helpers/generate-job.ts';
import { startPostgres } from '../test/helpers/postgres.ts';
import { startRedis } from '../test/helpers/redis.ts';
import type { Benchmark } from './report.ts';

const CROWD = 1000;
/** A job stands for a generation by taking this long; nothing is generated. */
const JOB_MS = 50;
const CONCURRENCY = 2;
/** Jobs of the small tenant, one after the other. */
const SAMPLES = 10;

export const turns: Benchmark = {
  question: `wait of a tenant's single job while ${CROWD} jobs of another tenant wait, ${CONCURRENCY} at a time, ${JOB_MS} ms each in place of a generation; in turn it would be ${((CROWD * JOB_MS) / CONCURRENCY / 1000).toFixed(0)} s at first`,
  columns: ['queue', 'median wait', 'longest', 'the crowd alone, jobs / s', 'beside the small tenant'],
  async run() {
    const redis = await startRedis();
    const postgres = await startPostgres();
    try {
      return [
        await measure('embedded'),
        await measure('redis', redis.url),
        await measure('postgres', postgres.url),
      ];
    } finally {
      await redis.stop();
      await postgres.stop();
    }
  },
};

async function measure(name: string, url?: string): Promise<string[]> {
  const directory = await mkdtemp(join(tmpdir(), 'loradrop-bench-'));
  const logger = createLogger({ level: 'error' });
  const backend = await openQueueBackend({
    ...(url !== undefined && { url }),
    dataDirectory: directory,
    logger,
  });
  const queue = await openGenerateQueue({ backend, maxWaiting: 10 * CROWD, logger });
  const [crowd, small] = [queue.of('crowd'), queue.of('small')];
  for (let n = 0; n < CROWD; n++) await crowd.submit(`job-${n}`, somePayload(), { fresh: true });
  let done = 0;
  const workers = await createWorkers({
    backend,
    handlers: {
      async generate({ tenant, id }) {
        await delay(JOB_MS);
        if (tenant === 'crowd') done += 1;
        return someResult(id);
      },
      ...idleHandlers,
    },
    concurrency: CONCURRENCY,
    logger,
  });
  const pace = async (work: () => Promise<void>) => {
    const [from, startedAt] = [done, performance.now()];
    await work();
    return (done - from) / ((performance.now() - startedAt) / 1000);
  };
  const alone = await pace(() => delay(3000));
  const waits: number[] = [];
  const beside = await pace(async () => {
    for (let n = 0; n < SAMPLES; n++) {
      const submittedAt = Date.now();
      await small.submit(`job-${n}`, somePayload({ priority: 0 }));
      for await (const record of small.watch(`job-${n}`)) {
        if (record.status === 'succeeded') waits.push((record.startedAt ?? 0) - submittedAt);
      }
    }
  });
  await workers.close({ drainMs: 0 });
  await queue.close();
  await backend.close();
  await rm(directory, { recursive: true });
  waits.sort((a, b) => a - b);
  return [
    name,
    `${waits[Math.floor(waits.length / 2)]} ms`,
    `${waits.at(-1)} ms`,
    alone.toFixed(0),
    beside.toFixed(0),
  ];
}
