import { type Test, test } from 'tap';
import { findRevision } from '../../src/hub-view/find-revision.ts';
import { commitOf } from '../../src/store/commit.ts';
import { openLocalStore } from '../../src/store/local.ts';
import { defaultStore } from '../suites/store-samples.ts';
import { publishAdapter } from './hub-samples.ts';

async function setUp(t: Test) {
  const store = defaultStore(await openLocalStore({ directory: t.testdir({}) }));
  t.teardown(() => store.close());
  const find = (name: string, revision = 'main', owner = 'default') =>
    findRevision(store, { owner, name, revision, tenant: 'default', now: Date.now });
  return { store, find };
}
const noRepository = { code: 'repository-not-found' };
const noRevision = { code: 'revision-not-found' };

test('an adapter is a repository with one commit', async (t) => {
  const { store, find } = await setUp(t);
  const one = await publishAdapter(store, 'one');
  const commit = commitOf(one);
  t.match(commit, /^[0-9a-f]{40}$/);
  for (const revision of ['main', 'HEAD', commit]) {
    t.match(await find('one', revision), { repository: 'default/one', commit, adapter: { id: 'one' } });
  }
  await t.rejects(find('one', '0'.repeat(40)), noRevision);
  await t.rejects(find('one', 'dev'), noRevision);
  await t.rejects(find('two'), noRepository);
  await t.rejects(find('one', 'main', 'team-b'), noRepository, 'of another owner');
  await t.rejects(find('../one'), noRepository);
  await publishAdapter(store, 'late', { expiresAt: Date.now() - 1 });
  await t.rejects(find('late'), noRepository);
  await publishAdapter(store, 'many--3');
  t.match(await find('many.3'), { adapter: { id: 'many--3' } });
  t.match(await find('many--3'), { adapter: { id: 'many--3' } });
});

test('a name’s main moves, its commits stay', async (t) => {
  const { store, find } = await setUp(t);
  const one = await publishAdapter(store, 'one');
  const two = await publishAdapter(store, 'two');
  await store.names.set('science', one);
  await store.names.set('science', two);
  t.match(await find('science'), { commit: commitOf(two), adapter: { id: 'two' } });
  t.match(await find('science', commitOf(one)), { commit: commitOf(one), adapter: { id: 'one' } });
  const other = await publishAdapter(store, 'other');
  await t.rejects(find('science', commitOf(other)), noRevision, 'a commit it never stood for');
  await store.remove('one');
  await t.rejects(find('science', commitOf(one)), noRevision);
  await store.remove('two');
  await t.rejects(find('science'), noRevision, 'main does not fall back to what was before');
  await publishAdapter(store, 'two', { weights: new Uint8Array(3) });
  await t.rejects(find('science'), noRevision, 'nor to an adapter that took the id later');
  await store.names.remove('science');
  await t.rejects(find('science'), noRepository);
});

test('a name goes before an id', async (t) => {
  const { store, find } = await setUp(t);
  await store.names.set('science', await publishAdapter(store, 'one'));
  await publishAdapter(store, 'science');
  t.match(await find('science'), { adapter: { id: 'one' } });
});
