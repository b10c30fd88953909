import { test } from 'tap';
import { openLocalStore } from '../../src/store/local.ts';
import { createStoreHealth } from '../../src/store/store-health.ts';
import { mountSmallDisk } from '../helpers/small-disk.ts';
import { publish } from '../suites/store.ts';
import { defaultStore, patternBytes } from '../suites/store-samples.ts';

test('a nearly full disk is seen before an adapter fails, and what has expired goes first', async (t) => {
  const directory = await mountSmallDisk(t);
  if (directory === undefined) return;
  const store = defaultStore(await openLocalStore({ directory }));
  t.teardown(() => store.close());
  let now = 10_000;
  const health = createStoreHealth(store.all, { bytes: () => 400_000, now: () => now });
  await health.check();
  await publish(store, 'stays', { expiresAt: 1e9 }, patternBytes(400_000));
  await publish(store, 'goes', { expiresAt: 20_000 }, patternBytes(400_000));
  await t.resolves(health.check(), 'an answer holds for a moment');
  now = 15_000;
  await t.rejects(health.check(), { code: 'store-full', retryable: true });
  await t.resolves(store.ready(), 'although a probe of a page fits');
  now = 20_000;
  await t.resolves(health.check());
  t.equal(await store.find('goes'), undefined);
  t.ok(await store.find('stays'));
});
