/** How the names of every adapter store behave, whatever it stores on. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Test } from 'tap';
import { commitOf } from '../../src/store/commit.ts';
import type { AdapterName } from '../../src/store/store.ts';
import { publish, type StorePlace } from './store.ts';
import { storeTests } from './store-tests.ts';

/** What is refused in these tests. */
const refusal = new Error('refused');
const mustBe = (tag: string | undefined) => (current: AdapterName | undefined) => {
  if (current?.tag !== tag) throw refusal;
};

/** Declares the suite for one kind of store, inside `parent` where one is named; `makePlace` is called once a test. */
export async function namesSuite(
  kind: string,
  makePlace: (t: Test) => Promise<StorePlace>,
  parent?: Test,
): Promise<void> {
  const { declare: nameTest, declared } = storeTests(kind, makePlace, parent);

  nameTest('a name stands for an adapter, and remembers what it stood for', async (t, store, place) => {
    const [one, two] = [await publish(store, 'one'), await publish(store, 'two')];
    t.equal(await store.names.find('science'), undefined);
    const first = await store.names.set('science', one);
    t.match(first, {
      created: true,
      name: { name: 'science', current: { adapter: 'one', commit: commitOf(one) } },
    });
    const second = await store.names.set('science', two);
    t.equal(second.created, false);
    t.not(second.name.tag, first.name.tag);
    t.same(
      second.name.history.map(({ adapter }) => adapter),
      ['two', 'one'],
    );
    t.same(await store.names.set('science', two), second, 'nothing changes where nothing would');
    const back = await store.names.set('science', one);
    t.same(
      back.name.history.map(({ adapter }) => adapter),
      ['one', 'two', 'one'],
    );
    const other = await place.open();
    t.teardown(() => other.close());
    t.same(await other.names.find('science'), back.name, 'another process sees the same');
    t.equal(await other.all.of('team-b').names.find('science'), undefined, 'another tenant sees nothing');
    t.same(await other.usage(), { adapters: 2, bytes: 2000 }, 'names are no adapters');
    await store.remove('one');
    t.match(
      await store.names.find('science'),
      { current: { adapter: 'one' } },
      'a name outlives its adapter',
    );
  });

  nameTest('a change can depend on what is there', async (t, store) => {
    const [one, two] = [await publish(store, 'one'), await publish(store, 'two')];
    await t.rejects(store.names.set('science', one, { check: mustBe('x') }), refusal);
    t.equal(await store.names.find('science'), undefined);
    const { name } = await store.names.set('science', one, { check: mustBe(undefined) });
    await t.rejects(store.names.set('science', two, { check: mustBe(undefined) }), refusal);
    const { name: changed } = await store.names.set('science', two, { check: mustBe(name.tag) });
    await t.rejects(store.names.remove('science', { check: mustBe(name.tag) }), refusal);
    t.same(await store.names.find('science'), changed);
  });

  nameTest('a deleted name is gone with its history, and may be set anew', async (t, store) => {
    const one = await publish(store, 'one');
    t.equal(await store.names.remove('science'), false);
    await store.names.set('science', one);
    t.equal(await store.names.remove('science'), true);
    t.equal(await store.names.remove('science'), false);
    t.equal(await store.names.find('science'), undefined);
    t.same(await store.names.list({ limit: 10 }), []);
    const { name, created } = await store.names.set('science', one);
    t.equal(created, true);
    t.equal(name.history.length, 1);
    t.ok(await store.find('one'), 'its adapter stays');
  });

  nameTest('names are listed in order, page by page, without the deleted ones', async (t, store) => {
    const one = await publish(store, 'one');
    const names = Array.from({ length: 40 }, (_, index) => `n${String(index).padStart(2, '0')}`);
    for (const name of [...names].reverse()) await store.names.set(name, one);
    await store.all.of('team-b').names.set('n00-of-another', await publish(store.all.of('team-b'), 'one'));
    await store.names.remove('n01');
    const seen: string[] = [];
    for (let after = ''; ; ) {
      const page = await store.names.list({ after, limit: 7 });
      t.ok(page.length <= 7);
      seen.push(...page.map(({ name }) => name));
      if (page.length < 7) break;
      after = page.at(-1)!.name;
    }
    t.same(
      seen,
      names.filter((name) => name !== 'n01'),
    );
    t.equal(await store.names.hasRoom(), true);
  });

  nameTest('of writers at once, in two processes, none is lost', async (t, store, { opener }) => {
    const adapters = await Promise.all(['a', 'b', 'c', 'd'].map((id) => publish(store, id)));
    const child = fork(join(import.meta.dirname, 'names-child.ts'), [
      opener.module,
      opener.name,
      JSON.stringify(opener.options),
    ]);
    t.teardown(() => child.kill('SIGKILL'));
    const ended = once(child, 'exit');
    for (const adapter of adapters) await store.names.set('counted', adapter);
    const [code] = await ended;
    t.equal(code, 0);
    const { history } = (await store.names.find('counted'))!;
    const sets = history.map(({ adapter }) => adapter);
    t.same(
      sets.filter((id) => !id.startsWith('child')),
      ['d', 'c', 'b', 'a'],
    );
    t.same(
      sets.filter((id) => id.startsWith('child')),
      ['child3', 'child2', 'child1', 'child0'],
    );
  });

  nameTest('of writers that each expect what they saw, one wins', async (t, store) => {
    const adapters = await Promise.all(['a', 'b', 'c', 'd', 'e', 'f'].map((id) => publish(store, id)));
    const { name } = await store.names.set('science', adapters[0]!);
    const outcomes = await Promise.allSettled(
      adapters.slice(1).map((adapter) => store.names.set('science', adapter, { check: mustBe(name.tag) })),
    );
    const won = outcomes.filter((each) => each.status === 'fulfilled');
    t.equal(won.length, 1);
    t.same((await store.names.find('science'))!.history.length, 2);
    for (const each of outcomes) if (each.status === 'rejected') t.equal(each.reason, refusal);
  });

  await Promise.all(declared);
}
