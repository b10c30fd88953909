import { test } from 'tap';
import { setRequestedName } from '../../src/jobs/set-name.ts';
import { openLocalStore } from '../../src/store/local.ts';
import { publish } from '../suites/store.ts';
import { defaultStore } from '../suites/store-samples.ts';

test('a job that is run again does not set its name again', async (t) => {
  const store = defaultStore(await openLocalStore({ directory: t.testdir({}) }));
  t.teardown(() => store.close());
  await publish(store, 'old');
  const run = (id: string) => setRequestedName({ setName: 'science', adapterIds: [id] }, store);
  await run('old');
  const newer = await publish(store, 'new');
  await store.names.set('science', newer);
  await run('old');
  t.match(await store.names.find('science'), { current: { adapter: 'new' }, history: { length: 2 } });
  await t.rejects(run('gone'), { code: 'adapter-not-found' });
  await setRequestedName({ adapterIds: ['old'] }, store);
  t.equal((await store.names.list({ limit: 9 })).length, 1);
});
