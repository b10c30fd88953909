import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import { parseAllDocuments } from 'yaml';
import type { Job } from '../../src/http/schemas.ts';
import { startLoradrop, until } from '../helpers/loradrop-process.ts';
import { startRedis } from '../helpers/redis.ts';

const base = join(import.meta.dirname, '..', '..', 'k8s', 'base', 'worker.yaml');

/** The variables that the manifest gives the worker itself. */
async function workerVariables(): Promise<Record<string, string>> {
  const documents = parseAllDocuments(await readFile(base, 'utf8')).map((document) => document.toJS());
  const { spec } = documents.find(({ kind }) => kind === 'Deployment');
  const variables = spec.template.spec.containers[0].env as { name: string; value: string }[];
  return Object.fromEntries(variables.map(({ name, value }) => [name, value]));
}

test('a busy worker that is told to end stays alive, takes no more, and ends when its job is done', {
  timeout: 120_000,
}, async (t) => {
  const redis = await startRedis(t);
  if (!redis) return;
  const dataDir = t.testdir({});
  const fleet = { QUEUE_URL: redis.url, DATA_DIR: dataDir, STORE_URL: join(dataDir, 'store') };
  const api = await startLoradrop(t, 'serve', fleet);
  const worker = await startLoradrop(t, 'worker', {
    ...fleet,
    ...(await workerVariables()),
    CONCURRENCY: '1',
  });
  const submit = async (count: number) => {
    const response = await fetch(`${api.url}/generate`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ prompts: ['What is tin?', 'Name two rivers.', 'Add 2 and 3.'], count, seed: 1 }),
    });
    return (await response.json()) as Job;
  };
  const look = async ({ id }: Job) => (await (await fetch(`${api.url}/jobs/${id}`)).json()) as Job;
  const running = await submit(8);
  const waiting = await submit(1);
  await until(async () => (await look(running)).status === 'processing');

  const ended = worker.end('SIGTERM');
  await until(async () => (await fetch(`${worker.url}/readyz`)).status === 503);
  t.equal((await fetch(`${worker.url}/livez`)).status, 200, 'the liveness probe passes while it drains');
  t.match(await look(running), { status: 'processing' }, 'its job goes on');
  t.equal(await ended, 0);
  t.match(await look(running), { status: 'succeeded', attempts: 1 }, 'the job was done before it ended');
  t.match(await look(waiting), { status: 'queued', attempts: 0 }, 'the next one waits for another worker');
});
