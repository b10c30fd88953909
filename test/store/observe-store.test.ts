import { join } from 'node:path';
import { test } from 'tap';
import { openLocalStore } from '../../src/store/local.ts';
import { observeStore, type StoreCall } from '../../src/store/observe-store.ts';

test('each call to the store is noted with what came of it', async (t) => {
  const calls: StoreCall[] = [];
  const inner = await openLocalStore({ directory: join(t.testdir({}), 'store') });
  const store = observeStore(inner, (call) => calls.push(call));
  t.teardown(() => store.close());
  const mine = store.of('default');
  const record = { createdAt: 0, expiresAt: 1, contentKey: 'c'.repeat(64), info: {} };
  const draft = await mine.draft('a');
  await draft.write('adapter_config.json', [Buffer.from('{}')]);
  await draft.publish(record);
  const found = await mine.find('a');
  await mine.copy(found!, 'b', record);
  for await (const _ of await mine.read('b', 'adapter_config.json'));
  await t.rejects(mine.read('none', 'adapter_config.json'), { code: 'adapter-not-found' });
  const stop = new AbortController();
  const cut = await mine.draft('c');
  async function* endless() {
    for (;;) {
      yield Buffer.alloc(10);
      stop.abort(new Error('enough'));
    }
  }
  await t.rejects(cut.write('adapter_config.json', endless(), { signal: stop.signal }));
  await cut.discard();
  t.strictSame(await store.expired(10, 5), [
    { tenant: 'default', id: 'a' },
    { tenant: 'default', id: 'b' },
  ]);
  t.equal(await mine.remove('a'), true);
  t.strictSame(
    calls.map(({ operation, outcome }) => `${operation} ${outcome}`),
    [
      'write ok',
      'publish ok',
      'find ok',
      'copy ok',
      'read ok',
      'read adapter-not-found',
      'write aborted',
      'expired ok',
      'remove ok',
    ],
  );
  t.ok(calls.every(({ ms }) => ms >= 0));
  t.equal(mine.location('a'), inner.of('default').location('a'));
});
