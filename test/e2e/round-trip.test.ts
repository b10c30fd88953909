import { createWriteStream } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type Test, test } from 'tap';
import { verifyAdapter } from '../../src/adapter/verify.ts';
import { sha256File } from '../../src/base/digest.ts';
import type { Adapter, Job } from '../../src/http/schemas.ts';
import { findBase } from '../../src/lora/bases.ts';
import { type LoradropProcess, startLoradrop, until } from '../helpers/loradrop-process.ts';
import { startPostgres } from '../helpers/postgres.ts';
import { startRedis } from '../helpers/redis.ts';
import { buildUntrainedBundle } from '../helpers/untrained-bundle.ts';

const PROMPTS = Array.from({ length: 20 }, (_, index) => `What is ${index} plus ${index + 1}?`);
const { layout } = findBase('smollm2-135m')!;

async function post(
  url: string,
  body: Record<string, unknown>,
  headers: Record<string, string> = {},
): Promise<Job> {
  const response = await fetch(`${url}/generate`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ prompts: PROMPTS, seed: 5, ...body }),
  });
  if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
  return (await response.json()) as Job;
}

const getJob = async (url: string, id: string) => (await (await fetch(`${url}/jobs/${id}`)).json()) as Job;

async function finished(url: string, id: string): Promise<Job> {
  await until(async () => ['succeeded', 'failed', 'canceled'].includes((await getJob(url, id)).status));
  return getJob(url, id);
}

/** Downloads an adapter the way a client would, checks it against the base's shapes, and answers its digest. */
async function fetchAdapter(url: string, id: string, directory: string): Promise<string> {
  await mkdir(directory, { recursive: true });
  const adapter = (await (await fetch(`${url}/adapters/${id}`)).json()) as Adapter;
  for (const file of adapter.files) {
    const response = await fetch(`${url}/adapters/${id}/${file.name}`);
    await pipeline(Readable.fromWeb(response.body!), createWriteStream(join(directory, file.name)));
  }
  await verifyAdapter(directory, layout, { finite: true });
  return (await sha256File(join(directory, 'adapter_model.safetensors'))).sha256;
}

/** The same steps on every queue: generate, fetch, ask again, generate something else. Answers the adapter's digest. */
async function roundTrip(t: Test, url: string, directory: string): Promise<string> {
  const job = await post(url, {}, { prefer: 'wait=60' });
  t.equal(job.status, 'succeeded');
  t.equal(job.trained, false, 'an untrained bundle says so in the job');
  t.match(job.warnings.join(), /untrained/i);
  t.match(job, { device: 'cpu', adapters: [{ fromStore: false }] });
  const digest = await fetchAdapter(url, job.id, join(directory, 'first'));
  t.equal(digest, job.adapters[0]!.sha256);

  const again = await post(url, {}, { prefer: 'wait=60' });
  t.match(
    again,
    { status: 'succeeded', adapters: [{ fromStore: true, sha256: digest }] },
    'a repeat comes from the store',
  );
  t.not(again.id, job.id);
  t.equal(await fetchAdapter(url, again.id, join(directory, 'again')), digest);

  const other = await post(url, { seed: 6, count: 2, dtype: 'f16' }, { prefer: 'wait=60' });
  t.equal(other.adapters.length, 2);
  const digests = await Promise.all(
    other.adapters.map(({ id }) => fetchAdapter(url, id, join(directory, id))),
  );
  t.equal(new Set([digest, ...digests]).size, 3, 'other draws give other bytes');
  return digest;
}

test('prompts become the same adapter on every queue, embedded and in separate processes', async (t) => {
  const root = t.testdir({});
  const bundles = join(root, 'bundles');
  await buildUntrainedBundle({ out: join(bundles, 'untrained'), seed: 0 });
  const environment = (name: string) => ({
    DATA_DIR: join(root, name),
    BUNDLES_DIR: bundles,
    STORE_URL: join(root, name, 'store'),
  });
  const digests: string[] = [];

  await t.test('embedded', async (t) => {
    const { url } = await startLoradrop(t, 'start', environment('embedded'));
    digests.push(await roundTrip(t, url, join(root, 'got-embedded')));
  });
  for (const [name, start] of [
    ['redis', startRedis],
    ['postgres', startPostgres],
  ] as const) {
    await t.test(name, async (t) => {
      const server = await start(t);
      if (!server) return;
      const shared = { ...environment(name), QUEUE_URL: server.url };
      const [api] = await Promise.all([
        startLoradrop(t, 'serve', shared),
        startLoradrop(t, 'worker', shared),
      ]);
      digests.push(await roundTrip(t, api.url, join(root, `got-${name}`)));
    });
  }
  t.equal(new Set(digests).size, 1, 'the bytes do not depend on the queue');
});

/** A job long enough to be interrupted. */
async function longJob(url: string): Promise<Job> {
  const job = await post(url, { count: 12, seed: 77 });
  await until(async () => (await getJob(url, job.id)).fraction > 0.05);
  return job;
}

test('a service killed in mid-job and started again on its directory finishes the job', async (t) => {
  const root = t.testdir({});
  await buildUntrainedBundle({ out: join(root, 'bundles', 'untrained'), seed: 0 });
  const environment = { DATA_DIR: root, JOB_LOCK_MS: '2000' };
  const first = await startLoradrop(t, 'start', environment);
  const job = await longJob(first.url);
  t.equal(await first.end('SIGKILL'), 'SIGKILL');
  // Something that is left open, as a library may do, does not keep a service that was told to end.
  const second = await startLoradrop(t, 'start', {
    ...environment,
    NODE_OPTIONS: '--import=data:text/javascript,setInterval(()=>{},1e6)',
  });
  const done = await finished(second.url, job.id);
  t.equal(done.status, 'succeeded');
  t.equal(new Set(done.adapters.map(({ sha256 }) => sha256)).size, 12);
  t.equal(await second.end('SIGTERM'), 0, 'SIGTERM ends it in order');
});

test('a worker killed in mid-job has its job done by another, and the client sees one result', async (t) => {
  const redis = await startRedis(t);
  if (!redis) return;
  const root = t.testdir({});
  const bundles = join(root, 'bundles');
  await buildUntrainedBundle({ out: join(bundles, 'untrained'), seed: 0 });
  const shared = { DATA_DIR: root, BUNDLES_DIR: bundles, QUEUE_URL: redis.url, JOB_LOCK_MS: '2000' };
  const [api, doomed] = await Promise.all([
    startLoradrop(t, 'serve', shared),
    startLoradrop(t, 'worker', shared),
  ]);
  const job = await longJob(api.url);
  t.equal(await doomed.end('SIGKILL'), 'SIGKILL');
  const successor: LoradropProcess = await startLoradrop(t, 'worker', shared);
  const done = await finished(api.url, job.id);
  t.match(done, { status: 'succeeded' });
  t.ok(done.attempts >= 1);
  const { jobs } = (await (await fetch(`${api.url}/jobs`)).json()) as { jobs: Job[] };
  t.equal(jobs.length, 1, 'one job');

  // A worker that is told to stop hands its job back: another goes on with it.
  const handed = await post(api.url, { count: 12, seed: 78 });
  await until(async () => (await getJob(api.url, handed.id)).fraction > 0.05);
  const other = await startLoradrop(t, 'worker', { ...shared });
  successor.child.kill('SIGTERM');
  t.match(await finished(api.url, handed.id), { status: 'succeeded' });
  t.ok(other.child.exitCode === null);
});
