/** How many jobs a second does one API process accept durably? */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createAuthenticate } from '../src/access/authenticate.ts';
import { httpLimits } from '../src/compose.ts';
import { loadConfig } from '../src/config/load.ts';
import { buildApp } from '../src/http/app.ts';
import { openDeliveries } from '../src/jobs/deliveries.ts';
import { openGenerateQueue } from '../src/jobs/generate-queue.ts';
import { openModelRegistry } from '../src/models/registry.ts';
import { createLogger } from '../src/observability/logger.ts';
import { createMetrics } from '../src/observability/metrics.ts';
import { openQueueBackend } from '../src/queue/open-queue-backend.ts';
import { openLocalStore } from '../src/store/local.ts';
import { GIVE_UP_MS } from '../src/webhooks/retry.ts';
import { startPostgres } from '../test/helpers/postgres.ts';
import { startRedis } from '../test/helpers/redis.ts';
import { buildUntrainedBundle } from '../test/helpers/untrained-bundle.ts';
import type { LoadResult } from './accept-load.ts';
import { PROMPTS } from './prompts.ts';
import type { Benchmark } from './report.ts';

const SECONDS = 5;
const CONNECTIONS = 16;
const MAX_JOBS = 100_000;

export const acceptRate: Benchmark = {
  question: `POST /generate with ${PROMPTS.length} prompts on ${CONNECTIONS} connections for ${SECONDS} s from another process, no worker running`,
  columns: ['queue', 'accepted / s', 'median', '99th percentile', 'not accepted'],
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
  const bundles = join(directory, 'bundles');
  await buildUntrainedBundle({ out: join(bundles, 'untrained'), seed: 0 });
  const models = await openModelRegistry({ directory: bundles });
  const store = await openLocalStore({ directory: join(directory, 'store') });
  const backend = await openQueueBackend({
    ...(url !== undefined && { url }),
    dataDirectory: directory,
    logger,
  });
  const queue = await openGenerateQueue({ backend, maxWaiting: MAX_JOBS, logger });
  const deliveries = await openDeliveries({ backend, giveUpMs: GIVE_UP_MS });
  const app = await buildApp({
    authenticate: createAuthenticate({ limits: {} }),
    rates: backend.rates,
    queue,
    models,
    store,
    logger,
    metrics: createMetrics(),
    readiness: async () => ({ ready: true, parts: {} }),
    limits: httpLimits(loadConfig({}, {})),
    webhooks: {
      guard: { check: async () => {} },
      secrets: { of: () => [] },
      operator: [],
      deliveries,
      notifier: { hint() {} },
    },
  });
  const address = await app.listen({ host: '127.0.0.1', port: 0 });
  const load = fork(join(import.meta.dirname, 'accept-load.ts'), [
    address,
    String(CONNECTIONS),
    String(SECONDS * 1000),
  ]);
  const [result] = (await once(load, 'message')) as [LoadResult];
  await app.close();
  await deliveries.close();
  await queue.close();
  await backend.close();
  await store.close();
  await rm(directory, { recursive: true });
  return [
    name,
    (result.accepted / SECONDS).toFixed(0),
    `${result.medianMs.toFixed(1)} ms`,
    `${result.p99Ms.toFixed(1)} ms`,
    String(result.refused),
  ];
}
