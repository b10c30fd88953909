import {
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rm,
  stat,
  unlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { sha256 } from '../../src/base/digest.ts';
import { FOREIGN_DRAFT_MAX_AGE_MS, openLocalStore } from '../../src/store/local.ts';
import { mountSmallDisk } from '../helpers/small-disk.ts';
import { end, nextReport, publish, startChild, storeSuite } from '../suites/store.ts';
import { defaultStore, patternBytes, sampleRecord } from '../suites/store-samples.ts';

const opener = (directory: string) => ({
  module: join(import.meta.dirname, '..', '..', 'src', 'store', 'local.ts'),
  name: 'openLocalStore',
  options: { directory },
});

async function makePlace(t: Test) {
  const directory = await mkdtemp(join(tmpdir(), 'loradrop-store-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  return {
    directory,
    open: () => openLocalStore({ directory }).then(defaultStore),
    opener: opener(directory),
  };
}

void storeSuite('local', makePlace);

const drafts = (directory: string) => readdir(join(directory, '.drafts'));

test('an adapter lies in a directory of its own, ready to be opened', async (t) => {
  const { directory, open } = await makePlace(t);
  const store = await open();
  t.teardown(() => store.close());
  const record = await publish(store, 'one');
  t.equal(store.location('one'), join(directory, 'adapters', 'default', 'one'));
  t.same((await readdir(store.location('one'))).sort(), ['adapter.json', 'weights.bin']);
  t.same(JSON.parse(await readFile(join(store.location('one'), 'adapter.json'), 'utf8')), record);
  t.same(await drafts(directory), []);
  const copy = await store.copy(record, 'two', sampleRecord());
  const inode = async (id: string) => (await stat(join(store.location(id), 'weights.bin'))).ino;
  t.equal(await inode(copy.id), await inode('one'), 'a copy takes no room');
  await store.remove('one');
  await store.remove('two');
  t.same(await readdir(join(directory, '.content', 'default')), [], 'indexes do not grow for ever');
  await store.expired(record.expiresAt + 2 * 86_400_000, 10);
  t.same(await readdir(join(directory, '.expiry')), [], 'days go when they are over');
});

test('drafts of dead processes go, those of live ones stay', async (t) => {
  const place = await makePlace(t);
  const { directory } = place;
  const dead = startChild(t, place, 'hold', 'dead');
  t.equal(await nextReport(dead), 'written');
  const live = startChild(t, place, 'hold', 'live');
  t.equal(await nextReport(live), 'written');
  t.equal((await drafts(directory)).length, 2);
  await end(dead);
  const store = await place.open();
  t.teardown(() => store.close());
  const left = await drafts(directory);
  t.equal(left.length, 1);
  t.ok(left[0]!.includes(`-${live.pid}-`));
  await end(live);
  await store.expired(0, 1);
  t.same(await drafts(directory), [], 'a store that stays open cleans up too');
});

test('a process number used again does not protect a leftover', async (t) => {
  const place = await makePlace(t);
  const store = await place.open();
  t.teardown(() => store.close());
  await store.draft('mine');
  const [mine] = await drafts(place.directory);
  const [host, pid, started] = mine!.split('-');
  t.equal(Number(pid), process.pid);
  if (!started) {
    t.pass('start of a process', { skip: 'this system does not tell when a process started' });
    return;
  }
  const former = [host, pid, Number(started) - 1, 'ab'.repeat(8)].join('-');
  await mkdir(join(place.directory, '.drafts', former));
  await store.expired(0, 1);
  t.same(await drafts(place.directory), [mine]);
});

test('drafts of other machines are left in peace until they are old', async (t) => {
  const { directory, open } = await makePlace(t);
  await (await open()).close();
  const now = Date.now();
  const make = async (name: string, ageMs: number) => {
    const path = join(directory, '.drafts', name);
    await mkdir(path);
    await utimes(path, (now - ageMs) / 1000, (now - ageMs) / 1000);
  };
  const fresh = `${'a'.repeat(16)}-1-1-${'b'.repeat(16)}`;
  await make(fresh, FOREIGN_DRAFT_MAX_AGE_MS - 60_000);
  await make(`${'a'.repeat(16)}-1-1-${'c'.repeat(16)}`, FOREIGN_DRAFT_MAX_AGE_MS + 60_000);
  const store = defaultStore(await openLocalStore({ directory, now: () => now }));
  t.teardown(() => store.close());
  t.same(await drafts(directory), [fresh]);
});

test('an index that is out of date misleads nobody', async (t) => {
  const { directory, open } = await makePlace(t);
  const store = await open();
  t.teardown(() => store.close());
  const contentKey = sha256('a');
  const { expiresAt } = await publish(store, 'one', { contentKey });
  const hint = join(directory, '.content', 'default', contentKey, 'ghost');
  await writeFile(hint, '');
  await rm(join(directory, '.content', 'default', contentKey, 'one'));
  t.equal(await store.findByContent(contentKey), undefined, 'a lost hint means no more than a new decode');
  await t.rejects(stat(hint), { code: 'ENOENT' }, 'a hint that leads nowhere is dropped');

  await publish(store, 'two', { contentKey });
  await unlink(join(store.location('two'), 'weights.bin'));
  t.equal(await store.findByContent(contentKey), undefined, 'an adapter without its files is not offered');

  const early = join(directory, '.expiry', '000000000000001.one');
  await writeFile(early, '');
  t.same(await store.expired(expiresAt - 1, 10), [], 'the record has the last word on the time');
  await t.rejects(stat(early), { code: 'ENOENT' });
});

test('a damaged record is a failure for its adapter alone', async (t) => {
  const { open } = await makePlace(t);
  const store = await open();
  t.teardown(() => store.close());
  const contentKey = sha256('a');
  const damage: Record<string, string> = {
    broken: '{"id": "bro',
    foreign: JSON.stringify({ ...(await publish(store, 'other', { contentKey: sha256('b') })) }),
    empty: '',
    unknown: '{"id":"unknown","more":1}',
  };
  for (const [id, text] of Object.entries(damage)) {
    await publish(store, id, { contentKey });
    await writeFile(join(store.location(id), 'adapter.json'), text);
    await t.rejects(store.find(id), {
      code: 'store-unavailable',
      message: `The record of ${id} is damaged.`,
    });
  }
  t.equal(await store.findByContent(contentKey), undefined);
  t.same([...(await store.expired(2_000, 10))].sort(), ['broken', 'empty', 'foreign', 'other', 'unknown']);
  for (const id of Object.keys(damage)) t.equal(await store.remove(id), true);
  t.same(await store.expired(2_000, 10), ['other']);
});

test('what the file system refuses is told without its paths', async (t) => {
  const { directory, open } = await makePlace(t);
  const store = await open();
  t.teardown(() => store.close());
  const refused = async (label: string, code: string, work: () => Promise<unknown>) => {
    const error = await work().then(
      () => undefined,
      (failure: unknown) => failure as Error,
    );
    t.match(error, { code, retryable: true }, label);
    t.notOk(error?.message.includes(directory), `${label}: no path in “${error?.message}”`);
    t.ok(error?.cause, `${label}: the cause is kept for the log`);
  };
  await mkdir(join(directory, 'adapters', 'default'), { recursive: true });
  await writeFile(join(directory, 'adapters', 'default', 'file'), 'not an adapter');
  await refused('a file in place of an adapter', 'store-unavailable', () => publish(store, 'file'));
  await mkdir(join(directory, 'adapters', 'default', 'odd', 'something'), { recursive: true });
  await t.rejects(publish(store, 'odd'), { code: 'store-unavailable' }, 'a directory that is no adapter');
  await rm(join(directory, '.drafts'), { recursive: true });
  await refused('no place for drafts', 'store-unavailable', () => store.draft('two'));
  await refused('not ready', 'store-unavailable', () => store.ready());
  await writeFile(join(directory, 'plain'), '');
  await refused('a file as directory', 'store-unavailable', () =>
    openLocalStore({ directory: join(directory, 'plain') }),
  );
});

test('a full file system is told as such, and can be used again', async (t) => {
  const directory = await mountSmallDisk(t);
  if (directory === undefined) return;
  const store = defaultStore(await openLocalStore({ directory }));
  t.teardown(() => store.close());
  await publish(store, 'small', {}, patternBytes(100_000));
  const draft = await store.draft('large');
  await t.rejects(draft.write('weights.bin', [patternBytes(600_000), patternBytes(600_000)]), {
    code: 'store-full',
    retryable: true,
  });
  await t.rejects(store.ready(), { code: 'store-unavailable' });
  t.equal(await store.find('large'), undefined);
  t.ok(await store.find('small'), 'what was there stays readable');
  await draft.discard();
  await t.resolves(store.ready());
  await publish(store, 'next', {}, patternBytes(600_000));
});

test('a reader that stops, or never starts, leaves no file open', async (t) => {
  if (process.platform !== 'linux') {
    t.pass('open files', { skip: 'only Linux lists open files in /proc' });
    return;
  }
  const { open } = await makePlace(t);
  const store = await open();
  t.teardown(() => store.close());
  await publish(store, 'one', {}, patternBytes(600_000));
  const openFiles = async () => {
    const names = await readdir('/proc/self/fd');
    const targets = await Promise.all(names.map((name) => readlink(`/proc/self/fd/${name}`).catch(() => '')));
    return targets.filter((target) => target.startsWith(store.location('one'))).length;
  };
  for await (const _ of await store.read('one', 'weights.bin')) {
    t.equal(await openFiles(), 1);
    break;
  }
  t.equal(await openFiles(), 0, 'after a break');
  const unread = (await store.read('one', 'weights.bin'))[Symbol.asyncIterator]();
  t.equal(await openFiles(), 1);
  await unread.return?.();
  t.equal(await openFiles(), 0, 'after a return before the first chunk');
  t.same(await unread.next(), { done: true, value: undefined });
});

test('what was stored before there were tenants is the default tenant’s', async (t) => {
  const { directory, open } = await makePlace(t);
  const old = { contentKey: sha256('old'), createdAt: 1_000, expiresAt: 90_000_000 };
  const write = async (id: string) => {
    await mkdir(join(directory, 'adapters', id), { recursive: true });
    await writeFile(join(directory, 'adapters', id, 'weights.bin'), patternBytes(10));
    const files = [{ name: 'weights.bin', bytes: 10, sha256: sha256(patternBytes(10)) }];
    await writeFile(
      join(directory, 'adapters', id, 'adapter.json'),
      JSON.stringify({ id, files, ...old, info: {} }),
    );
    await mkdir(join(directory, '.content', old.contentKey), { recursive: true });
    await writeFile(join(directory, '.content', old.contentKey, id), '');
    await mkdir(join(directory, '.expiry'), { recursive: true });
    await writeFile(join(directory, '.expiry', `000000090000000.${id}`), '');
  };
  for (const id of ['one', 'default', 'team-a']) await write(id);
  const store = await open();
  t.teardown(() => store.close());
  for (const id of ['one', 'default', 'team-a']) {
    t.match(await store.find(id), { tenant: 'default', id, ...old });
    t.equal(await store.all.of('team-a').find(id), undefined, 'and nobody else’s');
  }
  t.match(await store.findByContent(old.contentKey), { contentKey: old.contentKey });
  t.same((await store.expired(90_000_000, 10)).sort(), ['default', 'one', 'team-a']);
  t.same(await readdir(join(directory, 'adapters')), ['default']);

  // A process of the version before may still be publishing.
  await write('late');
  t.equal(await store.find('late'), undefined);
  await store.expired(0, 1);
  t.match(await store.find('late'), { id: 'late' }, 'seen after the next clean-up');
});
