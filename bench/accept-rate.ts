/** How many jobs a second does one API process accept durably, and what do keys cost? */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { digestOfKey, newApiKey } from '../src/access/api-key.ts';
import { type Authenticate, createAuthenticate } from '../src/access/authenticate.ts';
import type { KeyEntry } from '../src/access/key-file.ts';
import { httpLimits } from '../src/compose/front-desk.ts';
import { loadConfig } from '../src/config/load.ts';
import { createAdapterLinks } from '../src/http/adapter-links.ts';
import { buildApp } from '../src/http/app.ts';
import { openDeliveries } from '../src/jobs/deliveries.ts';
import { openDeployments } from '../src/jobs/deployments.ts';
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

/** Of one measurement; each is made several times, the ways in turn, so that a machine that changes its pace changes all. */
const SECONDS = 3;
const ROUNDS = 3;
/** Keys in the ring, as a platform team may have. */
const KEYS = 1000;
const CONNECTIONS = 16;
const MAX_JOBS = 100_000;

export const acceptRate: Benchmark = {
  question: `POST /generate with ${PROMPTS.length} prompts on ${CONNECTIONS} connections for ${ROUNDS} × ${SECONDS} s from another process, no worker running; with ${KEYS} keys, and with every request counted; medians`,
  columns: ['queue', 'requests', 'accepted / s', 'of open', 'median', '99th percentile', 'not accepted'],
  async run() {
    const redis = await startRedis();
    const postgres = await startPostgres();
    try {
      return [
        ...(await compare('embedded')),
        ...(await compare('redis', redis.url)),
        ...(await compare('postgres', postgres.url)),
      ];
    } finally {
      await redis.stop();
      await postgres.stop();
    }
  },
};

/** How requests are let in. */
const WAYS = ['open', 'with a key', 'with a key, counted'] as const;
type Way = (typeof WAYS)[number];

/** Who is let in how, and the key that a request sends. */
function accessFor(way: Way): { authenticate: Authenticate; key: string } {
  if (way === 'open') return { authenticate: createAuthenticate({ limits: {} }), key: '' };
  const keys = Array.from({ length: KEYS }, () => newApiKey());
  const entries = keys.map((key, at): KeyEntry => {
    const [name, sha256] = [`key-${at}`, digestOfKey(key)];
    return { name, tenant: 'default', scopes: ['generate', 'read'], sha256, createdAt: '2026-01-01' };
  });
  // The ring as the service has it, less the file that it is read from.
  const byDigest = new Map(entries.map((entry) => [entry.sha256, entry]));
  const find = (key: string) => byDigest.get(digestOfKey(key));
  const limits = way === 'with a key' ? {} : { requestsPerSecond: 1_000_000, requestBurst: 1_000_000 };
  return { authenticate: createAuthenticate({ keys: { guarded: true, find }, limits }), key: keys[0]! };
}

const median = (values: readonly number[]) =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;

/** The ways in on one backend, in turn. */
async function compare(name: string, url?: string): Promise<string[][]> {
  const results = new Map<Way, LoadResult[]>(WAYS.map((way) => [way, []]));
  for (let round = 0; round < ROUNDS; round++) {
    for (const way of WAYS) results.get(way)!.push(await measure(way, url));
  }
  const rate = (way: Way) => median(results.get(way)!.map(({ accepted }) => accepted / SECONDS));
  return WAYS.map((way) => {
    const loads = results.get(way)!;
    return [
      name,
      way,
      rate(way).toFixed(0),
      `${((100 * rate(way)) / rate('open')).toFixed(0)} %`,
      `${median(loads.map(({ medianMs }) => medianMs)).toFixed(1)} ms`,
      `${median(loads.map(({ p99Ms }) => p99Ms)).toFixed(1)} ms`,
      String(loads.reduce((sum, { refused }) => sum + refused, 0)),
    ];
  });
}

async function measure(way: Way, url?: string): Promise<LoadResult> {
  const { authenticate, key } = accessFor(way);
  const directory = await mkdtemp(join(tmpdir(), 'loradrop-bench-'));
  const logger = createLogger({ level: 'error' });
  const bundles = join(directory, 'bundles');
  await buildUntrainedBundle({ out: join(bundles, 'untrained'), seed: 0 });
  const models = await openModelRegistry({ directory: bundles });
  const store = await openLocalStore({ directory: join(directory, 'store') });
  const files = await openLocalStore({ directory: join(directory, 'files') });
  const backend = await openQueueBackend({
    ...(url !== undefined && { url }),
    dataDirectory: directory,
    logger,
  });
  const queue = await openGenerateQueue({ backend, maxWaiting: MAX_JOBS, logger });
  const deliveries = await openDeliveries({ backend, giveUpMs: GIVE_UP_MS });
  const deployments = await openDeployments({ backend, store });
  const app = await buildApp({
    authenticate,
    rates: backend.rates,
    queue,
    models,
    store,
    files,
    maxFileBytes: 0,
    validations: { find: async () => undefined },
    links: createAdapterLinks({ store, storeLinks: false, seconds: 1, byDefault: false }),
    logger,
    metrics: createMetrics(),
    readiness: async () => ({ ready: true, parts: {} }),
    limits: httpLimits(loadConfig({}, {})),
    destinations: { check() {} },
    copies: { find: async () => undefined },
    targets: [],
    deployments,
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
    key,
  ]);
  const [result] = (await once(load, 'message')) as [LoadResult];
  await app.close();
  await deliveries.close();
  await queue.close();
  await backend.close();
  await store.close();
  await rm(directory, { recursive: true });
  return result;
}
