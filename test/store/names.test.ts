import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { openLocalStore } from '../../src/store/local.ts';
import { createNames, MAX_HISTORY, MAX_NAMES, type NameLog } from '../../src/store/names.ts';
import { startMoto, startVersitygw } from '../helpers/object-storage.ts';
import { namesSuite } from '../suites/names.ts';
import { publish } from '../suites/store.ts';
import { defaultStore } from '../suites/store-samples.ts';
import { makeS3Place } from './s3-place.ts';

const DAY_MS = 24 * 60 * 60 * 1000;
const adapter = (id: string) => ({ id, files: [] });

async function makePlace(t: Test) {
  const directory = await mkdtemp(join(tmpdir(), 'loradrop-names-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const module = join(import.meta.dirname, '..', '..', 'src', 'store', 'local.ts');
  return {
    directory,
    open: () => openLocalStore({ directory }).then(defaultStore),
    opener: { module, name: 'openLocalStore', options: { directory } },
  };
}

void namesSuite('local', makePlace);

test('versitygw', async (t) => {
  const server = await startVersitygw(t);
  if (server) await namesSuite('versitygw', async () => makeS3Place(server.port), t);
});

test('moto', async (t) => {
  const server = await startMoto(t);
  if (server) await namesSuite('moto', async () => makeS3Place(server.port), t);
});

/** A log in memory, in which what a slow medium may do can be done on purpose. */
function memoryLog() {
  const states = new Map<string, Map<number, Uint8Array>>();
  const of = (name: string) => states.get(name) ?? new Map<number, Uint8Array>();
  const log: NameLog = {
    names: async () => [...states.keys()],
    numbers: async (name) => [...of(name).keys()],
    read: async (name, number) => of(name).get(number),
    async create(name, number, bytes) {
      if (of(name).has(number)) return false;
      states.set(name, of(name).set(number, bytes));
      return true;
    },
    async remove(name, number) {
      of(name).delete(number);
      if (of(name).size === 0) states.delete(name);
    },
  };
  return { log, states };
}

test('a name keeps one state, and a bounded history', async (t) => {
  const { log, states } = memoryLog();
  const names = createNames(log, 'default');
  for (let count = 0; count < MAX_HISTORY + 2; count++) await names.set('science', adapter(`a${count}`));
  t.equal(states.get('science')!.size, 1);
  const { history } = (await names.find('science'))!;
  t.equal(history.length, MAX_HISTORY);
  t.equal(history[0]!.adapter, `a${MAX_HISTORY + 1}`);
  t.equal(history.at(-1)!.adapter, 'a2');
});

test('a writer that was held up makes its change anew, on top of those made meanwhile', async (t) => {
  const { log } = memoryLog();
  const names = createNames(log, 'default');
  await names.set('science', adapter('first'));
  let held = true;
  const slow = createNames(
    {
      ...log,
      async create(name, number, bytes) {
        if (held) {
          held = false;
          // Others go so far that the number is free again.
          for (const id of ['x', 'y', 'z']) await names.set('science', adapter(id));
          t.notOk((await log.numbers(name)).includes(number));
        }
        return await log.create(name, number, bytes);
      },
    },
    'default',
  );
  await slow.set('science', adapter('slow'));
  const { history } = (await names.find('science'))!;
  t.same(
    history.map((each) => each.adapter),
    ['slow', 'z', 'y', 'x', 'first'],
  );
});

test('a change whose answer was lost counts once', async (t) => {
  const { log } = memoryLog();
  // As the SDK does: the write arrives, its answer does not, and the repeat is refused.
  const names = createNames(
    {
      ...log,
      async create(...state) {
        await log.create(...state);
        return await log.create(...state);
      },
    },
    'default',
  );
  const { name, created } = await names.set('science', adapter('one'));
  t.equal(created, true);
  t.equal(name.history.length, 1);
  t.equal(await names.remove('science'), true);
});

test('the bound on names counts deleted ones for a day', async (t) => {
  const { log, states } = memoryLog();
  let now = 0;
  const names = createNames(log, 'default', () => now);
  for (let count = 0; count < MAX_NAMES; count++) await names.set(`n${count}x`, adapter('one'));
  t.equal(await names.hasRoom(), false);
  await names.remove('n0x');
  t.equal(await names.hasRoom(), false);
  now = DAY_MS + 1;
  t.equal(await names.hasRoom(), true);
  t.equal(states.has('n0x'), false);
  await names.remove('n100x');
  now += DAY_MS;
  await names.list({ limit: 2 });
  t.equal(states.has('n100x'), false, 'a listing takes old marks away too');
});

test('a record that cannot be read is told, and a name that cannot be one is not looked for', async (t) => {
  const { directory, open } = await makePlace(t);
  const store = await open();
  t.teardown(() => store.close());
  await store.names.set('science', await publish(store, 'one'));
  const place = join(directory, 'names', 'default', 'science');
  const [number] = await readdir(place);
  t.equal(await store.names.find('../default/science'), undefined);
  t.equal(await store.names.remove('..'), false);
  await t.rejects(store.names.set('a--b', adapter('one')), TypeError);
  await writeFile(join(place, number!, 'name.json'), '{"name":"science"}');
  await t.rejects(store.names.find('science'), { code: 'store-unavailable' });
  await t.rejects(store.names.set('science', adapter('one')), { code: 'store-unavailable' });
});
