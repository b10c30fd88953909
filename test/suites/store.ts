/** How every adapter store behaves, whatever it stores on. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Test } from 'tap';
import { sha256 } from '../../src/base/digest.ts';
import type { AdapterFacts, ByteRange, StoredAdapter, TenantStore } from '../../src/store/store.ts';
import { type DefaultStore, patternBytes, sampleRecord } from './store-samples.ts';
import { storeTests } from './store-tests.ts';

/** One empty place to store in. */
export type StorePlace = {
  /** Opens a store there, as another process would. */
  open(): Promise<DefaultStore>;
  /** How a child process opens it: a module, its function and the function's options. */
  readonly opener: { readonly module: string; readonly name: string; readonly options: unknown };
};

/** All bytes of a stream. */
export async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const chunk of chunks) parts.push(chunk);
  return Buffer.concat(parts);
}

/** Publishes an adapter of one file. */
export async function publish(
  store: Pick<TenantStore, 'draft'>,
  id: string,
  change: Partial<AdapterFacts> = {},
  content = patternBytes(1_000),
): Promise<StoredAdapter> {
  const draft = await store.draft(id);
  await draft.write('weights.bin', [content]);
  return await draft.publish(sampleRecord(change));
}

/** Starts test/suites/store-child.ts; it ends with the test at the latest. */
export function startChild(t: Test, { opener }: StorePlace, task: string, argument: string): ChildProcess {
  const { module, name, options } = opener;
  const child = fork(join(import.meta.dirname, 'store-child.ts'), [
    module,
    name,
    JSON.stringify(options),
    task,
    argument,
  ]);
  t.teardown(() => end(child));
  return child;
}

/** Kills a child as a crash would, and waits until it is gone. */
export async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGKILL');
  await once(child, 'exit');
}

/** The child's next report. */
export async function nextReport(child: ChildProcess): Promise<string> {
  return await new Promise((resolve, reject) => {
    child.once('message', resolve as (message: unknown) => void);
    child.once('exit', (code, signal) => reject(new Error(`the child ended with ${code ?? signal}`)));
  });
}

async function checkWhole(t: Test, store: DefaultStore, { id, files }: StoredAdapter): Promise<void> {
  for (const { name, bytes, sha256: digest } of files) {
    const content = await collect(await store.read(id, name));
    t.equal(content.length, bytes, `${id}/${name} has its size`);
    t.equal(sha256(content), digest, `${id}/${name} has its digest`);
  }
}

/** Declares the suite for one kind of store, inside `parent` where one is named; `makePlace` is called once a test. */
export async function storeSuite(
  kind: string,
  makePlace: (t: Test) => Promise<StorePlace>,
  parent?: Test,
): Promise<void> {
  const { declare: storeTest, declared } = storeTests(kind, makePlace, parent);

  storeTest('what is published is found, with digests computed on the way', async (t, store, place) => {
    const draft = await store.draft('one');
    const first = patternBytes(700_001);
    const file = await draft.write('weights.bin', [first.subarray(0, 5), first.subarray(5)]);
    t.same(file, { name: 'weights.bin', bytes: 700_001, sha256: sha256(first) });
    await draft.write('config.json', [new TextEncoder().encode('{}')]);
    const record = await draft.publish(sampleRecord());
    t.match(record, { id: 'one', ...sampleRecord() });
    t.same(
      record.files.map(({ name }) => name),
      ['weights.bin', 'config.json'],
    );
    await checkWhole(t, store, record);
    const other = await place.open();
    t.teardown(() => other.close());
    t.same(await other.find('one'), record, 'by another process as well');
    await checkWhole(t, other, record);
    t.ok(store.location('one').includes('one'));
    await t.resolves(store.ready());
  });

  storeTest('a publication that is called off in the last moment shows nothing', async (t, store) => {
    const late = new Error('too late');
    const check = () => Promise.reject(late);
    const draft = await store.draft('late', { check });
    await draft.write('weights.bin', [patternBytes(1_000)]);
    await t.rejects(draft.publish(sampleRecord()), late);
    await draft.discard();
    t.equal(await store.find('late'), undefined);
    const source = await publish(store, 'source');
    await t.rejects(store.copy(source, 'late', sampleRecord(), { check }), late);
    t.equal(await store.find('late'), undefined);
    await checkWhole(t, store, await publish(store, 'late'));
  });

  storeTest('every adapter is listed, by tenant too, and nothing else is', async (t, store) => {
    const names = async (options?: { tenant?: string }) => {
      const found: string[] = [];
      for await (const { tenant, id } of store.all.list(options)) found.push(`${tenant}/${id}`);
      return found.sort();
    };
    t.same(await names(), []);
    t.same(await names({ tenant: 'nobody' }), []);
    for (const [tenant, id] of [
      ['default', 'one'],
      ['default', 'two'],
      ['acme', 'one'],
    ] as const) {
      await publish(store.all.of(tenant), id);
    }
    const draft = await store.draft('half');
    await draft.write('weights.bin', [patternBytes(100)]);
    t.same(await names(), ['acme/one', 'default/one', 'default/two']);
    t.same(await names({ tenant: 'acme' }), ['acme/one']);
    await draft.discard();
    await store.remove('one');
    t.same(await names(), ['acme/one', 'default/two']);
  });
  storeTest('adapters are listed by when they were stored, the last first', async (t, store) => {
    t.same(await store.newest(), []);
    // Object storage tells times in seconds.
    for (const id of ['one', 'two', 'three']) {
      await publish(store, id);
      await delay(1100);
    }
    await publish(store.all.of('acme'), 'theirs');
    const draft = await store.draft('half');
    await draft.write('weights.bin', [patternBytes(100)]);
    const found = await store.newest();
    t.same(
      found.map(({ id }) => id),
      ['three', 'two', 'one'],
    );
    for (const { storedAt } of found) t.ok(Number.isInteger(storedAt) && Date.now() - storedAt < 60_000);
    await draft.discard();
    await store.remove('two');
    t.same(
      (await store.newest()).map(({ id }) => id),
      ['three', 'one'],
    );
  });
  storeTest(
    'files that are written at the same time keep the order in which they were begun',
    async (t, store) => {
      const draft = await store.draft('one');
      const later = Promise.withResolvers<void>();
      async function* slow() {
        yield patternBytes(10);
        await later.promise;
      }
      const first = draft.write('weights.bin', slow());
      await draft.write('second.bin', [patternBytes(20)]);
      later.resolve();
      await first;
      await t.rejects(draft.write('failed.bin', failing()), { message: 'not whole' });
      await draft.write('config.json', [patternBytes(30)]);
      const { files } = await draft.publish(sampleRecord());
      t.same(
        files.map(({ name, bytes }) => [name, bytes]),
        [
          ['weights.bin', 10],
          ['second.bin', 20],
          ['config.json', 30],
        ],
      );
      async function* failing() {
        yield patternBytes(10);
        throw new Error('not whole');
      }
    },
  );

  storeTest('what is half-written is invisible to everyone', async (t, store, place) => {
    const reader = await place.open();
    t.teardown(() => reader.close());
    const lookAround = async (label: string) => {
      for (const [who, each] of Object.entries({ writer: store, reader })) {
        t.equal(await each.find('one'), undefined, `${label}: no record for the ${who}`);
        await t.rejects(each.read('one', 'weights.bin'), { code: 'adapter-not-found' });
        t.equal(await each.findByContent(sampleRecord().contentKey), undefined);
        t.same(await each.expired(Number.MAX_SAFE_INTEGER, 10), []);
      }
    };
    const draft = await store.draft('one');
    await lookAround('begun');
    async function* content() {
      for (let i = 0; i < 4; i++) {
        yield patternBytes(100_000, i);
        await lookAround(`after chunk ${i}`);
      }
    }
    await draft.write('weights.bin', content());
    await lookAround('written');
    const record = await draft.publish(sampleRecord());
    t.same(await reader.find('one'), record);
    await draft.discard();
    t.same(await reader.find('one'), record, 'discarding comes too late');
  });

  storeTest('a draft that is dropped leaves nothing, and its id free', async (t, store) => {
    const draft = await store.draft('one');
    await draft.write('weights.bin', [patternBytes(10)]);
    await draft.discard();
    await draft.discard();
    await t.rejects(draft.publish(sampleRecord()), 'it cannot be published any more');
    t.equal(await store.find('one'), undefined);
    const record = await publish(store, 'one');
    await checkWhole(t, store, record);
  });

  storeTest('failures of the content and aborts come through as they are', async (t, store) => {
    const draft = await store.draft('one');
    const failure = new Error('the decoder failed');
    async function* failing() {
      yield patternBytes(10);
      throw failure;
    }
    await draft.write('weights.bin', failing()).then(
      () => t.fail('it was written'),
      (error: unknown) => t.equal(error, failure),
    );
    const reason = new Error('enough');
    const controller = new AbortController();
    async function* aborting() {
      yield patternBytes(10);
      controller.abort(reason);
      yield patternBytes(10);
    }
    await draft.write('weights.bin', aborting(), { signal: controller.signal }).then(
      () => t.fail('it was written'),
      (error: unknown) => t.equal(error, reason),
    );
    await draft.write('weights.bin', [patternBytes(10)]);
    const record = await draft.publish(sampleRecord());
    t.equal(record.files.length, 1, 'the third attempt is the one that counts');
    await checkWhole(t, store, record);
    await t.rejects(store.read('one', 'weights.bin', { signal: AbortSignal.abort(reason) }), reason);
    const stopped = new AbortController();
    const stream = await store.read('one', 'weights.bin', { signal: stopped.signal });
    stopped.abort(reason);
    await t.rejects(collect(stream), reason);
  });

  storeTest(
    'of many publishers of one id the first wins, and all see its adapter',
    async (t, store, place) => {
      const other = await place.open();
      t.teardown(() => other.close());
      const drafts = await Promise.all(
        Array.from({ length: 8 }, async (_, index) => {
          const draft = await (index % 2 ? other : store).draft('one');
          await draft.write('weights.bin', [patternBytes(50_000, index)]);
          return draft;
        }),
      );
      const records = await Promise.all(
        drafts.map((draft, index) => draft.publish(sampleRecord({ info: { publisher: index } }))),
      );
      const winner = await store.find('one');
      for (const record of records) t.same(record, winner);
      await checkWhole(t, store, winner!);
      t.equal(
        winner!.files[0]!.sha256,
        sha256(patternBytes(50_000, winner!.info['publisher'] as number)),
        'record and files are of the same publisher',
      );
    },
  );

  storeTest('ranges are those of HTTP', async (t, store) => {
    const content = patternBytes(600_000);
    await publish(store, 'one', {}, content);
    const cases: [ByteRange, number, number][] = [
      [{ start: 0, end: 0 }, 0, 1],
      [{ start: 0, end: 599_999 }, 0, 600_000],
      [{ start: 599_999, end: 599_999 }, 599_999, 600_000],
      [{ start: 262_143, end: 262_144 }, 262_143, 262_145],
      [{ start: 100, end: 570_000 }, 100, 570_001],
      [{ start: 599_990, end: 10_000_000 }, 599_990, 600_000],
      [{ start: 600_000, end: 600_010 }, 600_000, 600_000],
    ];
    for (const [range, from, to] of cases) {
      const bytes = await collect(await store.read('one', 'weights.bin', { range }));
      t.ok(bytes.equals(content.subarray(from, to)), `${range.start}–${range.end}`);
    }
  });

  storeTest('a delete leaves a running read whole, and nothing else', async (t, store) => {
    const content = patternBytes(3_000_000);
    await publish(store, 'one', {}, content);
    const stream = (await store.read('one', 'weights.bin'))[Symbol.asyncIterator]();
    const first = await stream.next();
    t.equal(await store.remove('one'), true);
    t.equal(await store.find('one'), undefined);
    t.equal(await store.findByContent(sampleRecord().contentKey), undefined);
    await t.rejects(store.read('one', 'weights.bin'), { code: 'adapter-not-found' });
    t.same(await store.expired(Number.MAX_SAFE_INTEGER, 10), []);
    const parts = [first.value as Uint8Array];
    for (let next = await stream.next(); !next.done; next = await stream.next()) parts.push(next.value);
    t.ok(Buffer.concat(parts).equals(content));
    t.equal(await store.remove('one'), false, 'the second delete finds none');
    const again = await publish(store, 'one', { info: { second: true } });
    t.same(await store.find('one'), again, 'the id can be used again');
  });

  storeTest('equal content is found as long as one adapter has it', async (t, store) => {
    const contentKey = sha256('a');
    t.equal(await store.findByContent(contentKey), undefined);
    await publish(store, 'one', { contentKey });
    await publish(store, 'two', { contentKey });
    await publish(store, 'three', { contentKey: sha256('b') });
    t.match((await store.findByContent(contentKey))?.id, /^(one|two)$/);
    await store.remove('one');
    t.equal((await store.findByContent(contentKey))?.id, 'two');
    await store.remove('two');
    t.equal(await store.findByContent(contentKey), undefined);
    await publish(store, 'one', { contentKey });
    t.equal((await store.findByContent(contentKey))?.id, 'one');
    t.equal(await store.findByContent('../three'), undefined, 'what is no digest is not found');
  });

  storeTest('a copy stands by itself', async (t, store) => {
    const source = await publish(store, 'source', { info: { of: 'source' } }, patternBytes(100_000));
    const record = sampleRecord({ createdAt: 5_000, expiresAt: 9_000, info: { of: 'copy' } });
    const copy = await store.copy(source, 'copy', record);
    t.same(copy, { ...record, tenant: 'default', id: 'copy', files: source.files });
    t.same(await store.find('copy'), copy);
    await store.remove('source');
    await checkWhole(t, store, copy);
    t.same(await store.expired(9_000, 10), ['copy'], 'it expires at its own time');
    await t.rejects(store.copy(source, 'late', record), { code: 'adapter-not-found' });
    t.equal(await store.find('late'), undefined);
    const taken = await publish(store, 'taken', { info: { of: 'another' } });
    t.same(await store.copy(copy, 'taken', record), taken, 'an id that is taken stays as it is');
  });

  storeTest('expired adapters are listed, the oldest first, until they are removed', async (t, store) => {
    await publish(store, 'late', { expiresAt: 10_000_000_000_000 });
    await publish(store, 'third', { expiresAt: 30_000 });
    await publish(store, 'first', { expiresAt: 9_000 });
    await publish(store, 'second', { expiresAt: 10_000.5 });
    t.same(await store.expired(8_999, 10), []);
    t.same(await store.expired(9_000, 10), ['first']);
    t.same(await store.expired(30_000, 10), ['first', 'second', 'third']);
    t.same(await store.expired(30_000, 2), ['first', 'second']);
    t.ok(await store.find('first'), 'an expired adapter is found until it is removed');
    await store.remove('first');
    t.same(await store.expired(30_000, 10), ['second', 'third']);
    await publish(store, 'first', { expiresAt: 50_000 });
    t.same(await store.expired(30_000, 10), ['second', 'third'], 'an id used again has its new time');
    t.same(await store.expired(50_000, 10), ['second', 'third', 'first']);
  });

  storeTest('names that could leave the store lead nowhere', async (t, store) => {
    await publish(store, 'one');
    for (const id of [
      '../one',
      '.',
      '..',
      '',
      'a/b',
      'a.b',
      '12',
      'a\0b',
      `x${'x'.repeat(64)}`,
      '__proto__ ',
    ]) {
      t.equal(await store.find(id), undefined, JSON.stringify(id));
      t.equal(await store.remove(id), false);
      await t.rejects(store.read(id, 'weights.bin'), { code: 'adapter-not-found' });
      await t.rejects(store.draft(id), TypeError);
    }
    const draft = await store.draft('two');
    for (const name of ['../weights.bin', '.hidden', '', 'a/b', 'adapter.json', 'a\0b', 'x'.repeat(200)]) {
      await t.rejects(store.read('one', name), { code: 'adapter-not-found' }, JSON.stringify(name));
      await t.rejects(draft.write(name, [patternBytes(1)]), TypeError);
    }
    await t.rejects(store.read('one', 'absent.bin'), { code: 'adapter-not-found' });
  });

  storeTest('a store that closes drops its drafts, once', async (t, store, place) => {
    const closing = await place.open();
    const draft = await closing.draft('one');
    await draft.write('weights.bin', [patternBytes(10)]);
    await closing.close();
    await closing.close();
    await t.rejects(draft.publish(sampleRecord()));
    t.equal(await store.find('one'), undefined);
  });

  storeTest('a crash before publishing leaves nothing to see', async (t, store, place) => {
    const child = startChild(t, place, 'hold', 'one');
    t.equal(await nextReport(child), 'written');
    await end(child);
    const next = await place.open();
    t.teardown(() => next.close());
    for (const each of [store, next]) {
      t.equal(await each.find('one'), undefined);
      await t.rejects(each.read('one', 'weights.bin'), { code: 'adapter-not-found' });
    }
    const record = await publish(next, 'one');
    await checkWhole(t, store, record);
  });

  storeTest('opening a store does not disturb a writer in another process', async (t, store, place) => {
    const child = startChild(t, place, 'hold', 'one');
    t.equal(await nextReport(child), 'written');
    const opened = await place.open();
    t.teardown(() => opened.close());
    await opened.expired(0, 1);
    t.equal(await opened.find('one'), undefined);
    const published = nextReport(child);
    child.send('publish');
    t.equal(await published, 'published');
    const record = await store.find('one');
    t.equal(record?.files.length, 2);
    await checkWhole(t, opened, record!);
  });

  storeTest(
    'a crash at any moment leaves whole adapters, and every acknowledged one',
    async (t, store, place) => {
      for (const acknowledgedBeforeEnd of [1, 2, 3, 5]) {
        const prefix = `round${acknowledgedBeforeEnd}_`;
        const child = startChild(t, place, 'fill', prefix);
        const acknowledged: string[] = [];
        await new Promise<void>((resolve, reject) => {
          child.once('exit', () => reject(new Error('the child ended by itself')));
          child.on('message', (id: string) => {
            acknowledged.push(id);
            // It works on meanwhile, so that the signal meets it somewhere inside a write or a publication.
            if (acknowledged.length === acknowledgedBeforeEnd) resolve();
          });
        });
        await end(child);
        for (const id of acknowledged) t.ok(await store.find(id), `${id} was acknowledged and is there`);
        let visible = 0;
        for (; ; visible++) {
          const record = await store.find(`${prefix}${visible}`);
          if (!record) break;
          t.equal(record.files.length, 2);
          await checkWhole(t, store, record);
        }
        t.ok(visible >= acknowledged.length);
        const listed = await store.expired(Number.MAX_SAFE_INTEGER, 1_000);
        t.equal(
          listed.filter((id) => id.startsWith(prefix)).length,
          visible,
          'none was left without an end of its time',
        );
      }
    },
  );

  storeTest('tenants do not see each other', async (t, store) => {
    const other = store.all.of('team-b');
    const contentKey = sha256('shared');
    const mine = await publish(store, 'same', { contentKey }, patternBytes(100, 1));
    t.equal(await other.find('same'), undefined);
    t.equal(await other.findByContent(contentKey), undefined, 'equal content is not taken from others');
    await t.rejects(other.read('same', 'weights.bin'), { code: 'adapter-not-found' });
    t.equal(await other.remove('same'), false);
    await t.rejects(other.copy(mine, 'copy', sampleRecord()), TypeError);

    const theirs = await publish(other, 'same', { contentKey, expiresAt: 1_500 }, patternBytes(100, 2));
    t.equal(theirs.tenant, 'team-b');
    t.same(await store.find('same'), mine, 'two tenants may use one id');
    t.not(store.location('same'), other.location('same'));
    t.same(await collect(await other.read('same', 'weights.bin')), Buffer.from(patternBytes(100, 2)));
    t.same(await store.all.expired(1_600, 10), [{ tenant: 'team-b', id: 'same' }]);
    t.equal(await other.remove('same'), true);
    t.equal((await store.findByContent(contentKey))?.id, 'same', 'mine is still there');
    for (const bad of ['', '..', 'a/b', 'A', 'a.b', 'default/../x', '-a', 'x'.repeat(41)]) {
      t.throws(() => store.all.of(bad), TypeError, JSON.stringify(bad));
    }
  });

  storeTest('what a tenant has is counted', async (t, store) => {
    t.same(await store.usage(), { adapters: 0, bytes: 0 });
    await publish(store, 'one', {}, patternBytes(100));
    await publish(store, 'two', {}, patternBytes(50));
    await publish(store.all.of('team-b'), 'one', {}, patternBytes(7));
    t.same(await store.usage(), { adapters: 2, bytes: 150 });
    await store.remove('one');
    t.same(await store.usage(), { adapters: 1, bytes: 50 });
    t.same(await store.all.of('team-b').usage(), { adapters: 1, bytes: 7 });
  });
  // Of tests at the top the library itself keeps track, and ends early when somebody else waits for them.
  if (parent) await Promise.all(declared);
}
