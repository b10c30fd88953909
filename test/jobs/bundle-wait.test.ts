import { cp, mkdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { startService } from '../../src/compose.ts';
import { loadConfig } from '../../src/config/load.ts';
import type { Job, Model } from '../../src/http/schemas.ts';
import { PutOff } from '../../src/jobs/run-job.ts';
import { createWorkers } from '../../src/jobs/workers.ts';
import { openQueueBackend } from '../../src/queue/open-queue-backend.ts';
import { storeErrors } from '../../src/store/errors.ts';
import { withEmptyCluster } from '../helpers/embedded-data.ts';
import { idleHandlers, logger, openDefaultQueue, somePayload } from '../helpers/generate-job.ts';
import { until } from '../helpers/loradrop-process.ts';
import { startRedis } from '../helpers/redis.ts';
import { buildUntrainedBundle } from '../helpers/untrained-bundle.ts';

/** A fleet over one Redis and one store, whose processes have bundles directories of their own. */
async function setUp(t: Test) {
  const redis = await startRedis(t);
  if (!redis) return undefined;
  const root = t.testdir({});
  const start = async (role: 'api' | 'worker', name: string) => {
    const service = await startService(
      loadConfig(
        {
          dataDir: join(root, name),
          bundlesDir: join(root, name, 'bundles'),
          storeUrl: join(root, 'store'),
          queueUrl: redis.url,
          port: 0,
          logLevel: 'silent',
          drainSeconds: 0,
        },
        {},
      ),
      role,
    );
    t.teardown(() => service.close());
    return service;
  };
  const versions = join(root, 'versions');
  for (const seed of [1, 2]) await buildUntrainedBundle({ out: join(versions, `v${seed}`), seed });
  const put = (version: string, name: string, ...place: string[]) =>
    cp(join(versions, version), join(root, name, 'bundles', ...place, version), { recursive: true });
  return { start, put, root };
}

async function submit(url: string, body: object = {}): Promise<Job> {
  const response = await fetch(`${url}/generate`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ prompts: ['What is tin?'], seed: 1, ...body }),
  });
  return (await response.json()) as Job;
}

const look = async (url: string, { id }: Job) => (await (await fetch(`${url}/jobs/${id}`)).json()) as Job;

test('through an upgrade of a bundle every job is done with the one it was accepted for', {
  timeout: 120_000,
}, async (t) => {
  const fleet = await setUp(t);
  if (!fleet) return;
  const { start, put, root } = fleet;
  await put('v1', 'old');
  await put('v2', 'new');

  const oldApi = await start('api', 'old');
  const newWorker = await start('worker', 'new');
  const early = await submit(oldApi.url);
  const late = await submit(oldApi.url, { deadlineSeconds: 2 });
  await until(async () => (await look(oldApi.url, early)).attempts >= 2);
  await until(async () => (await look(oldApi.url, late)).status === 'failed');
  t.match(await look(oldApi.url, late), { error: { code: 'deadline-exceeded' } }, 'deadlines hold meanwhile');
  t.match(await look(oldApi.url, early), { status: /^(queued|processing)$/ }, 'it waits');

  const newApi = await start('api', 'new');
  const { models } = (await (await fetch(`${newApi.url}/models`)).json()) as { models: Model[] };
  t.not(models[0]?.digest, early.bundleDigest, 'one id, another bundle');
  const current = await submit(newApi.url);
  await until(async () => (await look(newApi.url, current)).status === 'succeeded');
  t.equal((await look(newApi.url, current)).bundleDigest, models[0]?.digest);
  t.match(await look(newApi.url, early), { status: /^(queued|processing)$/ }, 'it goes on to wait');

  // A worker that has both: what was superseded is only for those who wait for it.
  await newWorker.close();
  await mkdir(join(root, 'both', 'bundles', 'superseded'), { recursive: true });
  await rename(join(root, 'old', 'bundles', 'v1'), join(root, 'both', 'bundles', 'superseded', 'v1'));
  await put('v2', 'both');
  await start('worker', 'both');
  await until(async () => (await look(newApi.url, early)).status === 'succeeded');
  t.equal((await look(newApi.url, early)).bundleDigest, early.bundleDigest);
  t.equal((await look(newApi.url, await submit(newApi.url))).bundleDigest, models[0]?.digest);
});

for (const [what, failure, storeReady] of [
  ['a bundle', () => new PutOff(Date.now() + 60_000), async () => {}],
  ['the store', () => storeErrors.full('No room.'), async () => Promise.reject(storeErrors.full('No room.'))],
] as const)
  test(`jobs that wait for ${what} do not call each other, however few their tenant may run`, async (t) => {
    const backend = await openQueueBackend({ dataDirectory: await withEmptyCluster(t.testdir({})), logger });
    t.teardown(() => backend.close());
    const queue = await openDefaultQueue({ backend, maxWaiting: 10, logger });
    t.teardown(() => queue.close());
    let runs = 0;
    const workers = await createWorkers({
      backend,
      handlers: {
        generate: async () => {
          runs += 1;
          throw failure();
        },
        ...idleHandlers,
      },
      concurrency: 2,
      logger,
      storeReady,
      storePauseMs: 60_000,
    });
    t.teardown(() => workers.close({ drainMs: 0 }));
    const ids = ['one', 'two', 'three'];
    for (const id of ids) await queue.submit(id, somePayload(), { quota: { maxRunning: 1 } });
    await until(async () => runs >= ids.length);
    await until(async () => (await queue.counts()).delayed === ids.length);
    const before = runs;
    // Called at once, a job would run again within milliseconds.
    await new Promise((resolve) => setTimeout(resolve, 300));
    t.equal(runs, before);
    t.match(await queue.list({ limit: 10 }), { jobs: ids.map(() => ({ status: 'queued', attempts: 1 })) });
    await queue.cancel('one');
    t.match(await queue.find('one'), { status: 'canceled' });
  });
