import { type Test, test } from 'tap';
import { commitOf } from '../../src/store/commit.ts';
import { patternBytes, sampleRecord } from '../suites/store-samples.ts';
import { startApi, type TestApi } from './start-api.ts';

async function setUp(t: Test) {
  const api = await startApi(t);
  const ask = async (method: string, url: string, payload?: object, headers: object = {}) => {
    const response = await api.app.inject({
      method: method as 'GET',
      url,
      ...(payload && { payload }),
      headers: { ...headers },
    });
    return {
      status: response.statusCode,
      headers: response.headers,
      body: response.body === '' ? undefined : response.json(),
    };
  };
  return { api, ask, publish: (id: string, expiresAt?: number) => publish(api, id, expiresAt) };
}

async function publish({ store }: TestApi, id: string, expiresAt = Date.now() + 60_000) {
  const draft = await store.draft(id);
  await draft.write('weights.bin', [patternBytes(100, id.length)]);
  return await draft.publish(sampleRecord({ createdAt: Date.now(), expiresAt }));
}

test('a name is set, read, listed, set anew and deleted', async (t) => {
  const { ask, publish } = await setUp(t);
  const [one] = [await publish('one'), await publish('two')];
  t.match(await ask('GET', '/names/science'), { status: 404, body: { code: 'name-not-found' } });
  const made = await ask('PUT', '/names/science', { adapter: 'one' });
  t.match(made, {
    status: 201,
    headers: { location: '/names/science' },
    body: {
      name: 'science',
      adapter: 'one',
      commit: commitOf(one),
      repository: 'default/science',
      available: true,
      urls: { self: '/names/science', adapter: '/adapters/one', repository: '/api/models/default/science' },
    },
  });
  const seen = await ask('GET', '/names/science');
  t.match(seen, { status: 200, headers: { etag: made.headers.etag }, body: made.body });
  t.match(await ask('GET', '/names/science', undefined, { 'if-none-match': made.headers.etag }), {
    status: 304,
    body: undefined,
  });
  t.match(await ask('PUT', '/names/science', { adapter: 'one' }), {
    status: 200,
    headers: { etag: made.headers.etag },
  });
  const moved = await ask('PUT', '/names/science', { adapter: 'two' });
  t.equal(moved.status, 200);
  t.same(
    moved.body.history.map(({ adapter }: { adapter: string }) => adapter),
    ['two', 'one'],
  );
  await ask('PUT', '/names/arts', { adapter: 'one' });
  const { body: page } = await ask('GET', '/names?limit=1');
  t.match(page, { names: [{ name: 'arts', adapter: 'one' }], nextAfter: 'arts' });
  t.notOk('history' in page.names[0]);
  const { body: last } = await ask('GET', `/names?limit=2&after=${page.nextAfter}`);
  t.match(last, { names: [{ name: 'science' }], nextAfter: undefined });
  t.equal((await ask('DELETE', '/names/science')).status, 204);
  t.match(await ask('DELETE', '/names/science'), { status: 404, body: { code: 'name-not-found' } });
  t.equal((await ask('GET', '/adapters/one')).status, 500, 'the adapter, whose record is a test’s, is there');
});

test('a change can be made to depend on the version', async (t) => {
  const { ask, publish } = await setUp(t);
  await publish('one');
  await publish('two');
  const put = (adapter: string, headers: object) => ask('PUT', '/names/science', { adapter }, headers);
  const refused = { status: 412, body: { code: 'precondition-failed' } };
  t.match(await put('one', { 'if-match': '*' }), refused);
  const first = await put('one', { 'if-none-match': '*' });
  t.equal(first.status, 201);
  t.match(await put('two', { 'if-none-match': '*' }), refused);
  t.match(await put('two', { 'if-match': '"other"' }), refused);
  t.match(await put('two', { 'if-match': `W/${first.headers.etag}` }), refused, 'a strong comparison');
  t.equal((await put('two', { 'if-match': `"other", ${first.headers.etag}` })).status, 200);
  t.match(await ask('DELETE', '/names/science', undefined, { 'if-match': first.headers.etag }), refused);
  t.equal((await ask('DELETE', '/names/science', undefined, { 'if-match': '*' })).status, 204);
});

test('a name outlives its adapter, and says so', async (t) => {
  const { api, ask, publish } = await setUp(t);
  await publish('one');
  await ask('PUT', '/names/science', { adapter: 'one' });
  await api.store.remove('one');
  t.match(await ask('GET', '/names/science'), { status: 200, body: { adapter: 'one', available: false } });
  t.match(await ask('PUT', '/names/other', { adapter: 'one' }), {
    status: 404,
    body: { code: 'adapter-not-found' },
  });
  await publish('late', Date.now() - 1);
  t.match(await ask('PUT', '/names/other', { adapter: 'late' }), { status: 404 }, 'one that has expired');
});

test('what no name can be is refused', async (t) => {
  const { ask, publish } = await setUp(t);
  await publish('one');
  for (const name of ['a--b', '-a', 'a-', '123', 'a.b', 'x'.repeat(65), '%C3%A9']) {
    t.match(
      await ask('PUT', `/names/${name}`, { adapter: 'one' }),
      { status: 400, body: { code: 'id-invalid' } },
      name,
    );
  }
  t.match(await ask('PUT', '/names/one', { adapter: 'one' }), { status: 409, body: { code: 'name-taken' } });
  t.match(await ask('PUT', '/names/x', { adapter: 'one', more: 1 }), { body: { code: 'field-unknown' } });
  t.match(await ask('PUT', '/names/x', {}), { body: { code: 'request-invalid' } });
});

test('a request sets its name when its job succeeds', async (t) => {
  const { api, ask } = await setUp(t);
  const generate = (payload: object, id?: string) =>
    ask(
      id ? 'PUT' : 'POST',
      id ? `/generate/${id}` : '/generate',
      { prompts: ['Why?'], seed: 1, ...payload },
      { prefer: 'wait=30' },
    );
  const first = await generate({ name: 'science', setName: true });
  t.match(first, { status: 200, body: { status: 'succeeded', name: 'science', setName: true } });
  const second = await generate({ name: 'science', setName: true, seed: 2 });
  t.match((await ask('GET', '/names/science')).body, {
    adapter: second.body.id,
    history: [{ adapter: second.body.id }, { adapter: first.body.id }],
  });
  await generate({ name: 'for people, not set' });
  t.equal((await ask('GET', '/names')).body.names.length, 1);

  const jobs = (await api.queue.list({ limit: 100 })).jobs.length;
  const named = { setName: true };
  for (const [payload, pointer] of [
    [{ ...named }, '/name'],
    [{ ...named, name: 'for people' }, '/name'],
    [{ ...named, name: 'science', count: 2 }, '/setName'],
  ] as const) {
    t.match(await generate(payload), {
      status: 400,
      body: { code: 'options-conflict', errors: [{ pointer }] },
    });
  }
  const taken = { status: 409, body: { code: 'name-taken' } };
  t.match(await generate({ ...named, name: first.body.id }), taken, 'the id of an adapter');
  t.match(await generate({ ...named, name: 'own' }, 'own'), taken, 'the id it would have itself');
  t.equal((await api.queue.list({ limit: 100 })).jobs.length, jobs, 'nothing was queued');
  t.match(await generate({ ...named, name: 'fails' }), { body: { status: 'failed' } });
  t.match(await ask('GET', '/names/fails'), { status: 404 }, 'a job that fails sets nothing');

  await generate({ ...named, name: 'again' }, 'a1');
  await generate({ ...named, name: 'again' }, 'a2');
  t.match(await generate({ ...named, name: 'again' }, 'a1'), { body: { id: 'a1', status: 'succeeded' } });
  t.match((await ask('GET', '/names/again')).body, { adapter: 'a2' }, 'a repeat does not set it again');
});
