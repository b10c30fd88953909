/** A whole service whose store is on a disk that fills up under running jobs. */
import { readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import type { Adapter, Job } from '../../src/http/schemas.ts';
import { startLoradrop, until } from '../helpers/loradrop-process.ts';
import { mountSmallDisk } from '../helpers/small-disk.ts';
import { metricOf } from './fleet.ts';

const MiB = 1 << 20;
/** An adapter of the shipped generator in f32 has 9.3 MiB, and so much has to be free for a new job; in bf16 it has half. */
const DISK_MIB = 24;

test('a disk that is full makes jobs wait, and they end once there is room', {
  timeout: 240_000,
}, async (t) => {
  const disk = await mountSmallDisk(t, DISK_MIB);
  if (disk === undefined) return;
  const store = join(disk, 'store');
  const service = await startLoradrop(t, 'start', { DATA_DIR: t.testdir({}), STORE_URL: store });
  const submit = (id: string, seed: number) =>
    fetch(`${service.url}/generate/${id}`, {
      method: 'PUT',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ prompts: ['Which gas do plants take in?'], seed, dtype: 'f32' }),
    });
  const job = async (id: string) => (await (await fetch(`${service.url}/jobs/${id}`)).json()) as Job;
  const ended = async (id: string) => ['succeeded', 'failed'].includes((await job(id)).status);
  const ids = ['a', 'b', 'c', 'd'];

  // Accepted while there is room for the first, which the filler then takes from all of them.
  for (const [index, id] of ids.entries()) t.equal((await submit(id, index)).status, 202);
  const filler = join(disk, 'filler');
  await writeFile(filler, Buffer.alloc(20 * MiB)).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOSPC') throw error;
  });
  await until(async () => (await metricOf(service, 'loradrop_store_ready')) === 0);
  t.equal((await fetch(`${service.url}/readyz`)).status, 503);
  const refused = await submit('refused', 9);
  t.equal(refused.status, 507);
  t.match(await refused.json(), { code: 'store-full' });
  t.match(refused.headers.get('retry-after'), /^[0-9]+$/);

  const waiting: string[] = [];
  for (const id of ids) if (!(await ended(id))) waiting.push(id);
  t.ok(waiting.length > 0, `${waiting.length} jobs wait`);
  // Those that begin only now go back to the queue instead: nothing is decoded for a store that is full.
  await until(async () => (await metricOf(service, 'loradrop_held_adapters')) > 0);
  for (const id of ids) t.notOk((await job(id)).error, `${id} has not failed`);
  // The probe of the store's health is a draft, too, for a moment.
  await until(async () => (await readdir(join(store, '.drafts'))).length === 0);

  await rm(filler);
  // The disk takes two of them at a time; who has fetched one makes room for the next.
  const left = new Set(ids);
  while (left.size > 0) {
    let id = '';
    await until(async () => {
      for (const each of left) if (await ended(each)) id = each;
      return id !== '';
    }, 120_000);
    left.delete(id);
    t.match(await job(id), { status: 'succeeded' });
    const { files } = (await (await fetch(`${service.url}/adapters/${id}`)).json()) as Adapter;
    for (const { url, bytes } of files) {
      t.equal((await (await fetch(service.url + url)).arrayBuffer()).byteLength, bytes);
    }
    t.equal((await fetch(`${service.url}/adapters/${id}`, { method: 'DELETE' })).status, 204);
  }
  await until(async () => (await fetch(`${service.url}/readyz`)).status === 200);
  t.same(await readdir(join(store, '.drafts')), []);
  t.same(await readdir(join(store, 'adapters', 'default')), []);
});
