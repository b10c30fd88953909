import { cp, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ListObjectsV2Command } from '@aws-sdk/client-s3';
import { Worker } from 'bullmq';
import { test } from 'tap';
import { startService } from '../src/compose.ts';
import { loadConfig } from '../src/config/load.ts';
import type { Adapter, Job, Model } from '../src/http/schemas.ts';
import { COPY_SOURCE_KEPT_MS } from '../src/jobs/copies.ts';
import type { BundleManifest } from '../src/models/manifest.ts';
import { openBundle } from '../src/models/open.ts';
import { SHIPPED_BUNDLE } from '../src/models/shipped.ts';
import { withEmptyCluster } from './helpers/embedded-data.ts';
import { until } from './helpers/loradrop-process.ts';
import {
  objectStorageClient,
  objectStorageEnvironment,
  startVersitygw,
  TEST_BUCKET,
} from './helpers/object-storage.ts';
import { startRedis } from './helpers/redis.ts';
import { buildUntrainedBundle } from './helpers/untrained-bundle.ts';

test('a bundle that does not run leaves the others in service', async (t) => {
  const dataDir = await withEmptyCluster(t.testdir({}));
  const bundles = join(dataDir, 'bundles');
  await buildUntrainedBundle({ out: join(bundles, 'good'), seed: 0 });
  await cp(join(bundles, 'good'), join(bundles, 'bad'), { recursive: true });
  await cp(join(bundles, 'good'), join(bundles, 'enormous'), { recursive: true });
  const edit = async (name: string, change: (manifest: BundleManifest) => void) => {
    const path = join(bundles, name, 'bundle.json');
    const manifest = JSON.parse(await readFile(path, 'utf8'));
    manifest.id = name;
    change(manifest);
    await writeFile(path, JSON.stringify(manifest));
  };
  // Prompts of two slices, and a word on masked attention that the encoder does not keep: only the engine can tell.
  await edit('bad', ({ condition }) => {
    Object.assign(condition, { encoderTokens: 32, fullyMaskedAttention: 'zero' });
  });
  await edit('enormous', ({ generator }) => {
    generator.memoryBytes = 2 ** 52;
  });

  const config = loadConfig({ dataDir, port: 0, logLevel: 'silent' }, {});
  const service = await startService(config, 'all');
  t.teardown(() => service.close());
  const ready = await fetch(`${service.url}/readyz`);
  t.equal(ready.status, 200);
  t.match(await ready.json(), {
    parts: {
      engine: {
        detail: /^ready \(2 of 3 bundles do not load\) bad: .* enormous: The bundle needs about \d+ MiB/,
      },
    },
  });
  const { models } = (await (await fetch(`${service.url}/models`)).json()) as { models: Model[] };
  t.match(Object.fromEntries(models.map(({ id, unloadable }) => [id, unloadable])), {
    bad: /^encoder\.onnx attends to masked tokens/,
    enormous: /of memory, and there are \d+ MiB for it\.$/,
    'smollm2-135m-untrained': undefined,
  });

  const generate = async (model: string) => {
    const response = await fetch(`${service.url}/generate`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', prefer: 'wait=60' },
      body: JSON.stringify({ model, prompts: ['What is tin?'], seed: 1 }),
    });
    return (await response.json()) as Job;
  };
  t.match(await generate('bad'), { status: 'failed', error: { code: 'bundle-unloadable', status: 500 } });
  t.match(await generate('enormous'), {
    status: 'failed',
    error: { code: 'insufficient-memory', status: 503 },
  });
  t.match(await generate('smollm2-135m-untrained'), { status: 'succeeded' });

  await t.rejects(startService(config, 'all'), { code: 'data-directory-locked' }, 'the directory is taken');
  await service.close();
  await service.close();
  await t.rejects(fetch(`${service.url}/livez`), 'nothing listens any more');
});

test('API and worker alike serve the shipped bundle where there is none, and leave it as it is', async (t) => {
  const redis = await startRedis(t);
  if (!redis) return;
  const dataDir = t.testdir({});
  const config = loadConfig({ dataDir, port: 0, logLevel: 'silent', queueUrl: redis.url }, {});
  const before = await stat(SHIPPED_BUNDLE);
  for (const role of ['api', 'worker'] as const) {
    const service = await startService(config, role);
    t.teardown(() => service.close());
    t.match(
      await (await fetch(`${service.url}/readyz`)).json(),
      { parts: { models: { ready: true } } },
      role,
    );
    if (role === 'worker') continue;
    const { digest } = await openBundle(SHIPPED_BUNDLE);
    t.match(await (await fetch(`${service.url}/models`)).json(), { models: [{ digest, default: true }] });
  }
  t.equal((await stat(SHIPPED_BUNDLE)).mtimeMs, before.mtimeMs);
});

test('a running service copies a job’s adapter to its destination', async (t) => {
  const storage = await startVersitygw(t);
  if (!storage) return;
  Object.assign(process.env, objectStorageEnvironment(storage.port));
  const dataDir = await withEmptyCluster(t.testdir({}));
  await buildUntrainedBundle({ out: join(dataDir, 'bundles', 'untrained'), seed: 0 });
  const settings = { dataDir, port: 0, logLevel: 'silent', s3ForcePathStyle: true };
  const config = loadConfig({ ...settings, destinations: `s3://${TEST_BUCKET}/copies` }, {});
  const service = await startService(config, 'all');
  t.teardown(() => service.close());
  const response = await fetch(`${service.url}/generate`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      prompts: ['What is tin?'],
      seed: 1,
      retentionSeconds: 60,
      destination: { type: 's3', bucket: TEST_BUCKET, prefix: 'copies' },
    }),
  });
  const { id, urls } = (await response.json()) as Job;
  const get = async (path: string) => (await fetch(`${service.url}${path}`)).json();
  await until(async () => ((await get(urls.self)) as Job).destination?.state === 'delivered');
  const client = objectStorageClient(storage.port);
  t.teardown(() => client.destroy());
  const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket: TEST_BUCKET }));
  t.strictSame(
    Contents.map(({ Key, Size }) => [Key, Size! > 100]),
    ['adapter_config.json', 'adapter_model.safetensors'].map((name) => [`copies/${id}/${name}`, true]),
  );
  const { createdAt, expiresAt } = (await get(urls.adapter)) as Adapter;
  const keptMs = Date.parse(expiresAt) - Date.parse(createdAt);
  t.equal(keptMs, COPY_SOURCE_KEPT_MS, 'the adapter is kept for as long as its copy may take');
  const metrics = await (await fetch(`${service.url}/metrics`)).text();
  t.match(metrics, /loradrop_destination_copies_total\{outcome="delivered",code=""\} 1/);
  t.match(metrics, /loradrop_destination_queue\{state="delayed"\} 0/);
});

test('settings that cannot work together are refused before anything starts', async (t) => {
  const dataDir = await withEmptyCluster(t.testdir({}));
  const config = loadConfig({ dataDir, logLevel: 'silent' }, {});
  await t.rejects(startService(config, 'worker'), { code: 'settings-invalid', message: /QUEUE_URL/ });
  await t.rejects(startService({ ...config, storeUrl: 'gs://bucket' }, 'all'), {
    code: 'store-address-invalid',
  });
  await t.rejects(startService({ ...config, destinations: 'models' }, 'all'), {
    code: 'destination-settings-invalid',
  });
  const redis = await startRedis(t);
  if (!redis) return;
  // Links of one process would not open at another.
  const shared = { ...config, queueUrl: redis.url, presign: true };
  await t.rejects(startService(shared, 'api'), { code: 'settings-invalid', message: /LINK_SECRET/ });
});

/** The processes that this one started and that still run, by number. */
async function ownChildren(): Promise<string> {
  const path = `/proc/${process.pid}/task/${process.pid}/children`;
  return (await readFile(path, 'utf8').catch(() => '')).trim();
}

test('a part that does not close keeps nothing else open, and every call of close waits for the end', async (t) => {
  const dataDir = await withEmptyCluster(t.testdir({}));
  const config = loadConfig({ dataDir, port: 0, logLevel: 'silent' }, {});
  const before = await ownChildren();
  const service = await startService(config, 'all');
  t.not(await ownChildren(), before, 'the engine runs in a process of its own');
  // The workers close first of all; what was stopped after them is what used to stay.
  const { close } = Worker.prototype;
  Worker.prototype.close = async function (this: Worker, force) {
    await close.call(this, force);
    throw new Error('the worker does not close');
  };
  t.teardown(() => {
    Worker.prototype.close = close;
  });
  const calls = [service.close(), service.close()];
  await t.rejects(calls[0]!, /the worker does not close/);
  await t.rejects(calls[1]!, /the worker does not close/, 'the second call tells the same');
  await t.rejects(fetch(`${service.url}/livez`), 'nothing listens any more');
  t.equal(await ownChildren(), before, 'the engine process is gone');
  await t.rejects(service.close(), /the worker does not close/);
  Worker.prototype.close = close;
  const next = await startService(config, 'all');
  await next.close();
});
