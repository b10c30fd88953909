/** Links that need no key: which requests get them, what they open, and what they do not. */
import { join } from 'node:path';
import { test } from 'tap';
import { newApiKey } from '../../src/access/api-key.ts';
import { createAuthenticate } from '../../src/access/authenticate.ts';
import type { Limits } from '../../src/access/caller.ts';
import { sha256 } from '../../src/base/digest.ts';
import { createAdapterLinks } from '../../src/http/adapter-links.ts';
import { hostRule } from '../../src/http/hosts.ts';
import { wantsLinks } from '../../src/http/job-payload.ts';
import type { Problem } from '../../src/http/problem.ts';
import type { Adapter, Job } from '../../src/http/schemas.ts';
import { storeErrors } from '../../src/store/errors.ts';
import { openLocalStore } from '../../src/store/local.ts';
import type { AdapterStore } from '../../src/store/store.ts';
import { until } from '../helpers/loradrop-process.ts';
import { startReceiver } from '../helpers/webhook-receiver.ts';
import { publish } from '../suites/store.ts';
import { defaultStore } from '../suites/store-samples.ts';
import { startApi, TEST_LINK_SECRET } from './start-api.ts';

const LINK_SECONDS = 600;
const body = { prompts: ['Which link holds?'], seed: 1 };

test('links of a service where everything else needs a key', { timeout: 240_000 }, async (t) => {
  const key = newApiKey();
  const entry = {
    name: 'k',
    tenant: 'team-a',
    scopes: ['generate' as const, 'read' as const],
    sha256: sha256(key),
    createdAt: '2026-11-26',
  };
  const find = (given: string) => (given === key ? entry : undefined);
  const clock = { aheadMs: 0 };
  const now = () => Date.now() + clock.aheadMs;
  const limits: { -readonly [K in keyof Limits]: Limits[K] } = {};
  let broken = false;
  const part: { store?: AdapterStore } = {};
  /** The API's own store, where links cannot be made of it for a while. */
  const store = {
    of: (tenant: string) => {
      if (broken) throw storeErrors.unavailable('No answer.');
      return part.store!.of(tenant);
    },
  };
  const api = await startApi(t, {
    links: { store, now, limits, seconds: LINK_SECONDS, publicUrl: 'http://l.example' },
    services: {
      now,
      authenticate: createAuthenticate({ keys: { guarded: true, find }, limits: {} }),
      frontDoor: {
        hosts: hostRule({ host: '127.0.0.1', allowedHosts: ['l.example'], open: false }),
        trustedProxies: undefined,
        connections: {
          maxConnections: 64,
          headersTimeoutMs: 1000,
          requestTimeoutMs: 1000,
          keepAliveMs: 1000,
        },
      },
    },
  });
  part.store = api.store.all;
  const authorization = `Bearer ${key}`;
  const put = async (id: string, more: object = {}) => {
    const url = `/generate/${id}`;
    const headers = { authorization, prefer: 'wait=60' };
    const response = await api.app.inject({ method: 'PUT', url, payload: { ...body, ...more }, headers });
    return response.json<Job>();
  };
  const ask = (url: string) => api.app.inject({ url, headers: { authorization } });
  /** As somebody who has the link and nothing else. */
  const open = (url: string, headers: Record<string, string> = {}) =>
    api.app.inject({ url: url.replace('http://l.example', ''), headers });
  const refused = async (url: string, code: string, what: string) => {
    const response = await open(url);
    t.match(response.json<Problem>(), { status: 403, code }, what);
  };

  const receiver = await startReceiver();
  t.teardown(() => receiver.close());
  const job = await put('one', { presign: true, webhook: { url: receiver.url } });
  t.match(job, { status: 'succeeded', presign: true });
  const { links } = job.adapters[0]!;
  const { weights, config } = links!;

  await t.test('the job shows them, and each file answers as under its own address', async (t) => {
    t.equal(job.urls.adapter, weights);
    t.match(
      weights,
      /^http:\/\/l\.example\/links\/team-a\/one\/adapter_model\.safetensors\?expires=\d+&signature=[\w-]{43}$/,
    );
    const leftMs = Date.parse(links!.expiresAt) - Date.now();
    t.ok(leftMs > 0 && leftMs <= LINK_SECONDS * 1000, `${leftMs} ms`);
    for (const [file, link] of [
      ['adapter_model.safetensors', weights],
      ['adapter_config.json', config],
    ] as const) {
      const own = await ask(`/adapters/one/${file}`);
      const linked = await open(link);
      t.equal(linked.statusCode, 200, file);
      t.ok(linked.rawPayload.equals(own.rawPayload));
      for (const name of ['etag', 'content-type', 'content-length', 'repr-digest', 'accept-ranges']) {
        t.equal(linked.headers[name], own.headers[name], name);
      }
      const etag = String(linked.headers['etag']);
      const part = await open(link, { range: 'bytes=2-5' });
      t.equal(part.statusCode, 206);
      t.ok(part.rawPayload.equals(own.rawPayload.subarray(2, 6)));
      t.equal((await open(link, { 'if-none-match': etag })).statusCode, 304);
      t.equal((await open(link, { 'if-match': '"x"' })).statusCode, 412);
      t.equal((await open(link, { range: 'bytes=999999-' })).statusCode, 416);
      const path = link.replace('http://l.example', '');
      const head = await api.app.inject({ method: 'HEAD', url: path });
      t.equal(head.statusCode, 200);
      t.equal(head.body, '');
      t.equal(head.headers['etag'], etag);
      t.equal((await api.app.inject({ method: 'DELETE', url: path })).statusCode, 405);
    }
  });

  await t.test('what shows the job or the adapter makes new ones, listings aside', async (t) => {
    for (const again of [await ask('/jobs/one'), await ask('/adapters/one?presign=true')]) {
      const shown = again.json<Partial<Job> & Partial<Adapter>>();
      const made = (shown.adapters?.[0] ?? shown).links!;
      t.equal((await open(made.weights)).statusCode, 200);
    }
    t.notMatch((await ask('/adapters/one')).body, /signature/);
    t.notMatch((await ask('/jobs')).body, /signature/);
    t.match((await ask('/jobs/one/events')).body, /event: succeeded\ndata: .*signature=/);
  });

  await t.test('the webhook brings some that work', async (t) => {
    await receiver.waitFor(1);
    const { data } = JSON.parse(receiver.received[0]!.body) as { data: Job };
    t.equal(data.urls.adapter, data.adapters[0]!.links!.weights);
    t.equal((await open(data.urls.adapter)).statusCode, 200);
  });

  await t.test('a job that asked for none has none', async (t) => {
    const plain = await put('two', { seed: 2 });
    t.equal(plain.urls.adapter, '/adapters/two');
    t.notMatch(JSON.stringify(plain), /presign|signature/);
  });

  await t.test('a link opens nothing else', async (t) => {
    const later = Math.floor(Date.now() / 1000) + 9000;
    await refused(weights.replace('/one/', '/two/'), 'link-invalid', 'another adapter');
    await refused(weights.replace('/team-a/', '/team-b/'), 'link-invalid', 'another tenant');
    await refused(weights.replace('/team-a/', '/..%2fteam-a/'), 'link-invalid', 'a path that climbs');
    await refused(
      weights.replace('adapter_model.safetensors', 'adapter_config.json'),
      'link-invalid',
      'file',
    );
    await refused(weights.replace(/expires=\d+/, `expires=${later}`), 'link-invalid', 'a later end');
    await refused(weights.replace(/expires=\d+&/, ''), 'link-invalid', 'no end');
    await refused(weights.replace(/&signature=.*/, ''), 'link-invalid', 'no signature');
    await refused(weights.replace(/signature=.{3}/, 'signature=AAA'), 'link-invalid', 'a changed signature');
    await refused('/links/team-a/one/adapter_config.json', 'link-invalid', 'nothing');
    t.equal((await open(weights.replace('adapter_model.safetensors', 'adapter.json'))).statusCode, 404);
    t.match((await open(`${weights}&more=1`)).json(), { code: 'field-unknown' });
    t.equal((await open(weights, { host: 'l.example' })).statusCode, 200);
    t.equal((await open(weights, { host: 'evil.example' })).statusCode, 421, 'under another host');
  });

  await t.test('requests are counted for the tenant, those that guess are not', async (t) => {
    Object.assign(limits, { requestsPerSecond: 0.01, requestBurst: 3 });
    for (let nth = 0; nth < 5; nth++) await refused(`${weights}A`, 'link-invalid', `guess ${nth}`);
    for (const link of [weights, config, weights]) t.equal((await open(link)).statusCode, 200);
    const beyond = await open(weights);
    t.match(beyond.json(), { status: 429, code: 'rate-limit-exceeded' });
    t.match(beyond.headers, { 'retry-after': /^\d+$/, ratelimit: /r=0/ });
    delete limits.requestsPerSecond;
  });

  await t.test(
    'while none can be made the job is shown without, and its webhook waits for them',
    async (t) => {
      broken = true;
      const shown = await put('later', { seed: 3, presign: true, webhook: { url: receiver.url } });
      t.match(shown, { status: 'succeeded', presign: true, urls: { adapter: '/adapters/later' } });
      t.notMatch(JSON.stringify(shown), /signature/);
      await until(async () => /looked at later/.test(api.logged()));
      t.same(receiver.events('later'), []);
      broken = false;
      // The clock looks again a while after the job was accepted.
      await until(async () => receiver.events('later').length > 0);
      t.match(JSON.parse(receiver.received.at(-1)!.body), {
        data: { adapters: [{ links: { weights: /signature=/ } }] },
      });
    },
  );

  await t.test('a link dies on time, and with its adapter', async (t) => {
    clock.aheadMs = LINK_SECONDS * 1000;
    await refused(weights, 'link-expired', 'past its time');
    clock.aheadMs = 0;
    await api.store.all.of('team-a').remove('one');
    t.match((await open(weights)).json(), { status: 404, code: 'adapter-not-found' }, 'its adapter is gone');
    t.notMatch((await ask('/jobs/one')).body, /signature/);
  });

  t.notMatch(api.logged(), /signature=|\/links\/team-a|l\.example\/links/, 'a link is in no log');
  t.notMatch(api.logged(), TEST_LINK_SECRET);
});

test('without a secret there are no links, and nothing that could be one is let in', async (t) => {
  const api = await startApi(t, { links: { secret: undefined }, work: false });
  const post = (more: object) =>
    api.app.inject({ method: 'POST', url: '/generate', payload: { ...body, ...more } });
  t.match((await post({ presign: true })).json(), {
    status: 400,
    code: 'links-unavailable',
    errors: [{ pointer: '/presign' }],
  });
  t.same((await api.queue.list({ limit: 10 })).jobs, [], 'nothing was queued');
  t.equal((await post({ presign: false })).statusCode, 202);
  await publish(api.store, 'one', { expiresAt: Date.now() + 1e6 });
  t.match((await api.app.inject('/adapters/one?presign=true')).json(), { code: 'links-unavailable' });
  const expires = Math.floor(Date.now() / 1000) + 600;
  const guess = `/links/default/one/adapter_config.json?expires=${expires}&signature=${'A'.repeat(43)}`;
  t.match((await api.app.inject(guess)).json(), { status: 403, code: 'link-invalid' });
});

test('a request says whether it wants links, else the operator', async (t) => {
  t.equal(wantsLinks(undefined, { available: true, byDefault: true }), true);
  t.equal(wantsLinks(undefined, { available: true, byDefault: false }), false);
  t.equal(wantsLinks(false, { available: true, byDefault: true }), false);
  t.equal(wantsLinks(false, { available: false, byDefault: false }), false);
  t.throws(() => wantsLinks(true, { available: false, byDefault: false }), { code: 'links-unavailable' });
});

test('no link outlives its adapter, and without an address of the service links are relative', async (t) => {
  const store = defaultStore(await openLocalStore({ directory: join(t.testdir({}), 'store') }));
  t.teardown(() => store.close());
  const now = 1_000_000;
  const options = { store: store.all, storeLinks: false, secret: TEST_LINK_SECRET, now: () => now };
  const links = createAdapterLinks({ ...options, seconds: 3600, byDefault: false });
  await publish(store, 'short', { expiresAt: now + 30_000 });
  await publish(store, 'long', { expiresAt: now + 1e9 });
  await publish(store, 'over', { expiresAt: now });
  t.match(await links.of({ tenant: 'default', id: 'short' }), {
    expiresAt: now + 30_000,
    weights: /^\/links/,
  });
  t.match(await links.of({ tenant: 'default', id: 'long' }), { expiresAt: now + 3_600_000 });
  t.equal(await links.of({ tenant: 'default', id: 'over' }), undefined);
  t.equal(await links.of({ tenant: 'other', id: 'long' }), undefined);
});
