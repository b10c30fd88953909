/** How many deliveries a second a worker makes, and what ten thousand of them to a dead receiver cost generations. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { GenerateRecord } from '../src/jobs/generate-queue.ts';
import { createWorkers } from '../src/jobs/workers.ts';
import { openQueueBackend } from '../src/queue/open-queue-backend.ts';
import {
  idleHandlers,
  logger,
  openDefaultQueue,
  somePayload,
  someResult,
  watchUntil,
} from '../test/helpers/generate-job.ts';
import { until } from '../test/helpers/loradrop-process.ts';
import { openTestWebhooks } from '../test/helpers/open-test-webhooks.ts';
import { startPostgres } from '../test/helpers/postgres.ts';
import { startRedis } from '../test/helpers/redis.ts';
import { type Benchmark, spread } from './report.ts';
import type { ReceiverReport } from './webhook-receiver.ts';

const DELIVERIES = 2000;
const PENDING = 10_000;
const GENERATIONS = 40;
/** Deliveries added at a time. */
const ADDED_AT_ONCE = 50;

async function startReceivers() {
  const child = fork(join(import.meta.dirname, 'webhook-receiver.ts'));
  let received = 0;
  const [ready] = (await once(child, 'message')) as [ReceiverReport & { event: 'ready' }];
  child.on('message', (report: ReceiverReport) => {
    if (report.event === 'received') received = report.count;
  });
  return { ...ready, received: () => received, stop: () => child.kill() };
}

/** Milliseconds from acceptance to the end of jobs that do nothing, one after the other. */
async function generationWaits(queue: Awaited<ReturnType<typeof openDefaultQueue>>, name: string) {
  const waits: number[] = [];
  for (let n = 0; n < GENERATIONS; n++) {
    const from = performance.now();
    await queue.submit(`${name}-${n}`, somePayload());
    await watchUntil(queue, `${name}-${n}`, ({ finishedAt }) => finishedAt !== undefined);
    waits.push(performance.now() - from);
  }
  return waits;
}

async function measure(name: string, url?: string): Promise<readonly string[]> {
  const directory = await mkdtemp(join(tmpdir(), 'loradrop-bench-'));
  const receivers = await startReceivers();
  const backend = await openQueueBackend({ dataDirectory: directory, ...(url && { url }), logger });
  const queue = await openDefaultQueue({ backend, maxWaiting: 1000, logger });
  const webhooks = await openTestWebhooks({ backend, queue, logger });
  const workers = await createWorkers({
    backend,
    handlers: {
      ...idleHandlers,
      generate: async ({ id }) => someResult(id),
      webhook: webhooks.handlers.webhook,
    },
    concurrency: 4,
    concurrencyOf: { webhook: 32 },
    logger,
  });
  try {
    const add = async (to: string, prefix: string, count: number) => {
      const body = JSON.stringify({ type: 'job.succeeded', data: { id: 'x'.repeat(2000) } });
      const payload = somePayload({ webhooks: [{ url: to, events: ['job.succeeded'] }] });
      for (let n = 0; n < count; n += ADDED_AT_ONCE) {
        const batch = Array.from({ length: Math.min(ADDED_AT_ONCE, count - n) }, (_, at) => ({
          tenant: 'default',
          id: `${prefix}${n + at}`,
          payload,
        }));
        await Promise.all(
          batch.map((record) =>
            webhooks.deliveries.add(record as unknown as GenerateRecord, {
              webhook: 0,
              number: 0,
              event: 'job.succeeded',
              fraction: 1,
              body,
              createdAt: Date.now(),
            }),
          ),
        );
      }
    };
    const from = performance.now();
    await add(receivers.quick, 'quick', DELIVERIES);
    await until(async () => receivers.received() >= DELIVERIES, 600_000);
    const perSecond = DELIVERIES / ((performance.now() - from) / 1000);
    const without = await generationWaits(queue, 'without');
    await add(receivers.dead, 'dead', PENDING);
    const during = await generationWaits(queue, 'during');
    const { waiting, active, delayed } = await webhooks.deliveries.counts();
    return [
      name,
      perSecond.toFixed(0),
      spread(without, 'ms', 0),
      spread(during, 'ms', 0),
      `${waiting + active + delayed}`,
    ];
  } finally {
    await workers.close({ drainMs: 0 });
    await webhooks.close();
    await queue.close();
    await backend.close();
    receivers.stop();
    await rm(directory, { recursive: true, force: true });
  }
}

export const webhooks: Benchmark = {
  question: `deliveries a second (added and sent), and the time of a job that does nothing, before and while ${PENDING} deliveries to a receiver that never answers are pending`,
  columns: ['queue', 'deliveries/s', 'job without', 'job meanwhile', 'pending'],
  onRequest: true,
  async run() {
    const redis = await startRedis();
    const postgres = await startPostgres();
    try {
      return [
        await measure('redis', redis.url),
        await measure('postgres', postgres.url),
        await measure('embedded'),
      ];
    } finally {
      await redis.stop();
      await postgres.stop();
    }
  },
};
