import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { sha256 } from '../../src/base/digest.ts';
import { type CopiedAdapter, copyStore } from '../../src/store/copy-store.ts';
import { storeErrors } from '../../src/store/errors.ts';
import { openLocalStore } from '../../src/store/local.ts';
import type { AdapterStore } from '../../src/store/store.ts';
import { startMoto, startVersitygw } from '../helpers/object-storage.ts';
import { collect } from '../suites/store.ts';
import { patternBytes, sampleRecord } from '../suites/store-samples.ts';
import { makeS3Place } from './s3-place.ts';

const later = Date.now() + 3_600_000;
const bytesOf = (id: string) => patternBytes(200_000, id.length + id.charCodeAt(0));

async function publish(store: AdapterStore, tenant: string, id: string, expiresAt = later): Promise<void> {
  const draft = await store.of(tenant).draft(id);
  await draft.write('weights.bin', [bytesOf(id)]);
  await draft.write('config.json', [Buffer.from(`{"of":"${id}"}`)]);
  await draft.publish(sampleRecord({ expiresAt, contentKey: sha256(`${tenant}/${id}`) }));
}

async function run(
  from: AdapterStore,
  to: AdapterStore | undefined,
  options: { dryRun?: boolean; signal?: AbortSignal; tenant?: string } = {},
) {
  const names = [];
  const { tenant, signal = new AbortController().signal, dryRun = false } = options;
  for await (const name of from.list(tenant === undefined ? {} : { tenant })) names.push(name);
  const adapters: CopiedAdapter[] = [];
  await copyStore({ from, to, names, signal, dryRun, onAdapter: (adapter) => void adapters.push(adapter) });
  return Object.fromEntries(
    adapters.map(({ tenant, id, outcome, error }) => [`${tenant}/${id}`, error?.code ?? outcome]),
  );
}

async function localStore(t: Test, name: string): Promise<AdapterStore> {
  const store = await openLocalStore({ directory: join(t.testdirName, name) });
  t.teardown(() => store.close());
  return store;
}

for (const [kind, start] of [
  ['versitygw', startVersitygw],
  ['moto', startMoto],
] as const) {
  test(`from a directory to ${kind} and back, every byte and record is the same`, async (t) => {
    const server = await start(t);
    if (!server) return;
    t.testdir({});
    const [local, back] = [await localStore(t, 'a'), await localStore(t, 'b')];
    const s3 = (await makeS3Place(server.port).open()).all;
    t.teardown(() => s3.close());
    for (const [tenant, id] of [
      ['default', 'one'],
      ['default', 'two'],
      ['acme', 'one'],
    ] as const) {
      await publish(local, tenant, id);
    }
    await publish(local, 'acme', 'old', Date.now() - 1000);
    t.strictSame(await run(local, s3, { tenant: 'acme' }), { 'acme/one': 'copied', 'acme/old': 'expired' });
    t.strictSame(await run(local, s3, { dryRun: true }), {
      'acme/one': 'there',
      'acme/old': 'expired',
      'default/one': 'copied',
      'default/two': 'copied',
    });
    t.equal(await s3.of('default').find('one'), undefined, 'a dry run writes nothing');
    await run(local, s3);
    t.strictSame(await run(local, s3), {
      'acme/one': 'there',
      'acme/old': 'expired',
      'default/one': 'there',
      'default/two': 'there',
    });
    t.strictSame(await run(s3, back), {
      'acme/one': 'copied',
      'default/one': 'copied',
      'default/two': 'copied',
    });
    for (const [tenant, id] of [
      ['default', 'two'],
      ['acme', 'one'],
    ] as const) {
      const record = await local.of(tenant).find(id);
      t.strictSame(await s3.of(tenant).find(id), record);
      t.strictSame(await back.of(tenant).find(id), record);
      t.ok((await collect(await back.of(tenant).read(id, 'weights.bin'))).equals(bytesOf(id)));
      t.match(await back.of(tenant).findByContent(record!.contentKey), { id }, 'its indexes are made too');
      t.match(await back.expired(later + 1, 10), [{}, {}, {}]);
    }
  });
}

test('what differs or is damaged is told and does not show', async (t) => {
  t.testdir({});
  const [from, to] = [await localStore(t, 'a'), await localStore(t, 'b')];
  for (const id of ['good', 'damaged', 'short', 'recordless', 'other']) await publish(from, 'default', id);
  const path = (id: string, file: string) => join(from.of('default').location(id), file);
  const bytes = await readFile(path('damaged', 'weights.bin'));
  await writeFile(
    path('damaged', 'weights.bin'),
    bytes.map((byte, at) => (at === 5 ? byte ^ 1 : byte)),
  );
  await writeFile(path('short', 'weights.bin'), bytes.subarray(1));
  await writeFile(path('recordless', 'adapter.json'), '{}');
  const draft = await to.of('default').draft('other');
  await draft.write('weights.bin', [Buffer.from('another')]);
  await draft.publish(sampleRecord({ expiresAt: later }));
  t.strictSame(await run(from, to), {
    'default/good': 'copied',
    'default/damaged': 'stored-file-damaged',
    'default/short': 'stored-file-damaged',
    'default/recordless': 'store-unavailable',
    'default/other': 'conflict',
  });
  t.equal(await to.of('default').find('damaged'), undefined);
  t.equal((await to.of('default').find('other'))?.files[0]?.bytes, 7);
});

test('an abort ends it with what was copied whole, and the next run goes on', async (t) => {
  t.testdir({});
  const [from, to] = [await localStore(t, 'a'), await localStore(t, 'b')];
  for (let at = 0; at < 12; at++) await publish(from, 'default', `a${at}`);
  const stop = new AbortController();
  const reason = new Error('stopped');
  const names = Array.from({ length: 12 }, (_, at) => ({ tenant: 'default', id: `a${at}` }));
  let done = 0;
  await t.rejects(
    copyStore({
      from,
      to,
      names,
      signal: stop.signal,
      onAdapter() {
        done += 1;
        if (done === 3) stop.abort(reason);
      },
    }),
    reason,
  );
  t.ok(done < 12);
  const outcomes = Object.values(await run(from, to));
  t.ok(outcomes.filter((outcome) => outcome === 'there').length >= 3);
  t.equal(outcomes.length, 12);
  t.strictSame(new Set(Object.values(await run(from, to))), new Set(['there']));
});

test('a store that is full, or fails again and again, ends it', async (t) => {
  t.testdir({});
  const from = await localStore(t, 'a');
  for (let at = 0; at < 30; at++) await publish(from, 'default', `a${at}`);
  for (const [error, most] of [
    [storeErrors.full('no room'), 4],
    [storeErrors.unavailable('away'), 11],
  ] as const) {
    const seen: string[] = [];
    const to = {
      of: () =>
        ({
          find: async () => undefined,
          draft: async () => {
            throw error;
          },
        }) as never,
    };
    const names = Array.from({ length: 30 }, (_, at) => ({ tenant: 'default', id: `a${at}` }));
    const signal = new AbortController().signal;
    await t.rejects(copyStore({ from, to, names, signal, onAdapter: ({ id }) => void seen.push(id) }), {
      code: error.code,
    });
    t.ok(seen.length <= most, `${seen.length} were tried`);
  }
});
