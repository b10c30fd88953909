import { test } from 'tap';
import { LOCK_LOST } from '../../src/jobs/run-job.ts';
import { storeOfRun } from '../../src/jobs/store-of-run.ts';
import { openLocalStore } from '../../src/store/local.ts';
import { publish } from '../suites/store.ts';
import { defaultStore, sampleRecord } from '../suites/store-samples.ts';

test('nothing shows that a run publishes after the end of its job', async (t) => {
  const store = defaultStore(await openLocalStore({ directory: t.testdir({}) }));
  t.teardown(() => store.close());
  let isOver: () => Promise<boolean> = async () => false;
  const ofRun = storeOfRun(store, () => isOver());
  const inTime = await publish(ofRun, 'in-time');

  isOver = async () => true;
  await t.rejects(publish(ofRun, 'late'), LOCK_LOST);
  await t.rejects(ofRun.copy(inTime, 'late-copy', sampleRecord()), LOCK_LOST);
  await t.rejects(publish(ofRun, 'in-time'), LOCK_LOST);
  t.same(await store.find('in-time'), inTime, 'what another run has published stays');
  t.same(
    (await store.newest()).map(({ id }) => id),
    ['in-time'],
  );

  isOver = () => Promise.reject(new Error('the queue is away'));
  await publish(ofRun, 'unknown');
  t.ok(await store.find('unknown'));
});
