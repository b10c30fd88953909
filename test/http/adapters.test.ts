import { once } from 'node:events';
import { rm, writeFile } from 'node:fs/promises';
import { get as httpGet, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { test } from 'tap';
import { sha256 } from '../../src/base/digest.ts';
import { presentAdapter } from '../../src/http/present-adapter.ts';
import type { Problem } from '../../src/http/problem.ts';
import type { Adapter } from '../../src/http/schemas.ts';
import type { StoredAdapter } from '../../src/store/store.ts';
import { startApi, type TestApi } from './start-api.ts';

const WEIGHTS = Buffer.from('0123456789abcdef');
const CONFIG = Buffer.from('{"r":8}\n');
const INFO = {
  jobId: 'job_1',
  index: 0,
  model: 'm',
  bundleDigest: 'a'.repeat(64),
  trained: false,
  baseModel: 'base',
  dtype: 'bf16',
  rank: 8,
  alpha: 16,
  device: 'cpu',
  seed: 1,
  tensors: 2,
  parameters: 16,
  promptDigests: ['b'.repeat(64)],
};

async function publish(
  { store }: TestApi,
  id: string,
  options: { weights?: Iterable<Uint8Array>; expiresAt?: number; info?: Record<string, unknown> } = {},
): Promise<StoredAdapter> {
  const { weights = [WEIGHTS], expiresAt = Date.now() + 3_600_000, info = INFO } = options;
  const draft = await store.draft(id);
  await draft.write('adapter_model.safetensors', weights);
  await draft.write('adapter_config.json', [CONFIG]);
  return draft.publish({ createdAt: 1_700_000_000_000, expiresAt, contentKey: sha256(id), info });
}

test('adapters: description, bytes, ranges, validators, removal', async (t) => {
  const api = await startApi(t, { work: false });
  const { app } = api;
  await publish(api, 'a1');
  const path = '/adapters/a1/adapter_model.safetensors';
  const tag = `"${sha256(WEIGHTS)}"`;
  const get = (url: string, headers: Record<string, string> = {}) => app.inject({ url, headers });

  await t.test('description', async (t) => {
    const response = await get('/adapters/a1');
    const adapter = response.json<Adapter>();
    t.match(adapter, {
      ...INFO,
      id: 'a1',
      createdAt: '2023-11-14T22:13:20.000Z',
      urls: { job: '/jobs/job_1' },
    });
    t.match(
      new Map(adapter.files.map(({ name, ...file }) => [name, file])).get('adapter_model.safetensors'),
      { bytes: 16, sha256: sha256(WEIGHTS), url: path },
    );
    t.notMatch(response.body, /\/tmp|location/, 'a directory of this machine is not shown');
    for (const [name, url] of Object.entries(adapter.urls)) {
      if (name !== 'job') t.equal((await get(url)).statusCode, 200, url);
    }
  });

  await t.test('the whole file', async (t) => {
    const response = await get(path);
    t.equal(response.statusCode, 200);
    t.same(response.rawPayload, WEIGHTS);
    t.match(response.headers, {
      etag: tag,
      'accept-ranges': 'bytes',
      'content-length': '16',
      'content-type': 'application/octet-stream',
      'repr-digest': `sha-256=:${Buffer.from(sha256(WEIGHTS), 'hex').toString('base64')}:`,
      'last-modified': 'Tue, 14 Nov 2023 22:13:20 GMT',
    });
    const config = await get('/adapters/a1/adapter_config.json');
    t.match(config.headers['content-type'], /^application\/json/);
    t.strictSame(config.json(), { r: 8 });
  });

  await t.test('HEAD is GET without the body', async (t) => {
    for (const url of [path, '/adapters/a1/adapter_config.json', '/adapters/a1.tar', '/adapters/a1']) {
      const [head, whole] = [await app.inject({ method: 'HEAD', url }), await get(url)];
      t.equal(head.statusCode, 200, url);
      t.equal(head.body, '');
      for (const name of ['content-length', 'content-type', 'etag', 'accept-ranges']) {
        t.equal(head.headers[name], whole.headers[name], `${url} ${name}`);
      }
      t.equal(Number(head.headers['content-length']), whole.rawPayload.length);
    }
  });

  await t.test('a version that is no longer there is not taken for the one that was asked for', async (t) => {
    for (const headers of [
      { 'if-match': tag },
      { 'if-match': `"x", ${tag}` },
      { 'if-match': '*' },
      { 'if-unmodified-since': 'Tue, 14 Nov 2023 22:13:20 GMT' },
      { 'if-unmodified-since': 'yesterday' },
      // If-Match alone counts where both are there.
      { 'if-match': tag, 'if-unmodified-since': 'Tue, 14 Nov 2000 22:13:20 GMT' },
    ]) {
      t.equal((await get(path, headers)).statusCode, 200, JSON.stringify(headers));
    }
    for (const headers of [
      { 'if-match': '"x"' },
      { 'if-match': `W/${tag}` },
      { 'if-match': '"x"', range: 'bytes=4-7' },
      { 'if-unmodified-since': 'Tue, 14 Nov 2023 22:13:19 GMT' },
    ]) {
      const response = await get(path, headers);
      t.match(
        response.json<Problem>(),
        { code: 'precondition-failed', status: 412 },
        JSON.stringify(headers),
      );
    }
  });

  await t.test('ranges', async (t) => {
    const middle = await get(path, { range: 'bytes=4-7' });
    t.equal(middle.statusCode, 206);
    t.equal(middle.body, '4567');
    t.match(middle.headers, { 'content-range': 'bytes 4-7/16', 'content-length': '4', etag: tag });
    t.equal((await get(path, { range: 'bytes=-3' })).body, 'def');
    t.equal((await get(path, { range: 'bytes=14-' })).body, 'ef');
    const past = await get(path, { range: 'bytes=16-' });
    t.match(past.json<Problem>(), { code: 'range-not-satisfiable', status: 416 });
    t.equal(past.headers['content-range'], 'bytes */16');
    const several = await get(path, { range: 'bytes=0-1,4-5' });
    t.equal(several.statusCode, 200, 'several ranges are answered with the whole');
    t.equal((await get(path, { range: 'bytes=0-1', 'if-range': tag })).statusCode, 206);
    t.equal((await get(path, { range: 'bytes=0-1', 'if-range': '"other"' })).statusCode, 200);
    t.equal(
      (await get(path, { range: 'bytes=0-1', 'if-range': `W/${tag}` })).statusCode,
      200,
      'weak tags do not do',
    );
  });

  await t.test('validators', async (t) => {
    for (const header of [tag, `"x", ${tag}`, `W/${tag}`, '*']) {
      const response = await get(path, { 'if-none-match': header, range: 'bytes=0-1' });
      t.equal(response.statusCode, 304, header);
      t.equal(response.body, '');
      t.equal(response.headers.etag, tag);
    }
    t.equal((await get(path, { 'if-none-match': '"x"' })).statusCode, 200);
  });

  await t.test('what is past its retention is gone for clients', async (t) => {
    await publish(api, 'old', { expiresAt: Date.now() - 1 });
    for (const url of ['/adapters/old', '/adapters/old.tar', '/adapters/old/adapter_config.json']) {
      t.equal((await get(url)).json<Problem>().code, 'adapter-not-found', url);
    }
  });

  await t.test('a record of another version is a defect, without its content', async (t) => {
    await publish(api, 'odd', { info: { jobId: 'private' } });
    const response = await get('/adapters/odd');
    t.match(response.json<Problem>(), { code: 'internal', status: 500 });
    t.notMatch(response.body, /private/);
  });

  await t.test('a client that leaves and one whose adapter is deleted', async (t) => {
    const url = await api.listen();
    const chunk = Buffer.alloc(1 << 20, 'x');
    await publish(api, 'big', { weights: Array(64).fill(chunk) });
    const start = async () => {
      const request = httpGet(`${url}/adapters/big/adapter_model.safetensors`, { agent: false });
      return ((await once(request, 'response')) as [IncomingMessage])[0];
    };
    (await start()).destroy();
    const download = await start();
    t.equal((await app.inject({ method: 'DELETE', url: '/adapters/big' })).statusCode, 204);
    t.equal((await get('/adapters/big')).statusCode, 404);
    let bytes = 0;
    for await (const piece of download) bytes += (piece as Buffer).length;
    t.equal(bytes, 64 << 20, 'the download under way ends well');
    t.equal(
      (await app.inject({ method: 'DELETE', url: '/adapters/big' })).json<Problem>().code,
      'adapter-not-found',
    );
  });
});

test('where shared storage has an adapter is shown, where this machine has it is not', async (t) => {
  const stored: StoredAdapter = {
    tenant: 'default',
    id: 'a',
    files: [],
    createdAt: 0,
    expiresAt: 0,
    contentKey: '0'.repeat(64),
    info: INFO,
  };
  t.equal(presentAdapter(stored, 's3://bucket/a').location, 's3://bucket/a');
  for (const path of ['/srv/adapters/a', 'C:\\adapters\\a', 'file:///srv/a']) {
    t.equal(presentAdapter(stored, path).location, undefined, path);
  }
});

test('a store or queue that is down is a 503 with Retry-After, and what is left goes on', async (t) => {
  const api = await startApi(t, { work: false });
  const { app } = api;
  await publish(api, 'a1');
  const unavailable = async (url: string, code: string) => {
    const response = await app.inject(url);
    t.match(response.json<Problem>(), { code, status: 503 }, url);
    t.ok(Number(response.headers['retry-after']) > 0);
    t.notMatch(response.body, /\/tmp/);
  };

  await rm(join(api.directory, 'store', 'adapters'), { recursive: true });
  await writeFile(join(api.directory, 'store', 'adapters'), 'not a directory');
  await unavailable('/adapters/a1', 'store-unavailable');
  t.equal((await app.inject('/jobs')).statusCode, 200);

  await api.closeQueue();
  await unavailable('/jobs', 'queue-unavailable');
  t.equal((await app.inject('/models')).statusCode, 200);
});

test('adapters are listed in pages, the last stored first, those of one model or base alone', async (t) => {
  const api = await startApi(t, { work: false });
  const get = async (url: string) => {
    const response = await api.app.inject({ url });
    t.equal(response.statusCode, 200, response.body);
    return response.json<{ adapters: { id: string }[]; nextCursor?: string }>();
  };
  t.strictSame(await get('/adapters'), { adapters: [] });
  const stored = ['a1', 'a2', 'a3', 'a4', 'a5'];
  for (const id of stored) {
    await publish(api, id, { info: { ...INFO, model: id === 'a2' ? 'other' : 'm', name: `name of ${id}` } });
    await delay(5);
  }
  await publish(api, 'gone', { expiresAt: Date.now() - 1 });
  await publish(api, 'based', { info: { ...INFO, baseModel: 'owner/other-base' } });

  const whole = await get('/adapters');
  t.strictSame(
    whole.adapters.map(({ id }) => id),
    ['based', 'a5', 'a4', 'a3', 'a2', 'a1'],
  );
  t.match(whole.adapters[1], {
    name: 'name of a5',
    bytes: WEIGHTS.length + CONFIG.length,
    urls: { self: '/adapters/a5', job: '/jobs/job_1' },
  });
  t.equal(whole.nextCursor, undefined);

  const paged: string[] = [];
  let pages = 0;
  for (let cursor: string | undefined = ''; cursor !== undefined; pages++) {
    const page: Awaited<ReturnType<typeof get>> = await get(
      `/adapters?limit=2${cursor && `&cursor=${encodeURIComponent(cursor)}`}`,
    );
    paged.push(...page.adapters.map(({ id }) => id));
    cursor = page.nextCursor;
    // One that comes meanwhile does not move the pages that follow.
    if (pages === 0) await publish(api, 'late');
  }
  t.strictSame(
    paged,
    whole.adapters.map(({ id }) => id),
  );
  t.equal(pages, 3);
  t.match(await get('/adapters?model=other'), { adapters: [{ id: 'a2' }] });
  t.match(await get('/adapters?baseModel=owner/other-base'), { adapters: [{ id: 'based' }] });
  t.strictSame((await get('/adapters?model=nothing')).adapters, []);
  for (const [query, code] of [
    ['cursor=x', 'cursor-invalid'],
    ['limit=0', 'request-invalid'],
    ['colour=red', 'field-unknown'],
  ]) {
    t.match((await api.app.inject({ url: `/adapters?${query}` })).json(), { code });
  }
});
