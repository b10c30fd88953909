import Fastify from 'fastify';
import { type Test, test } from 'tap';
import { type Caller, type Limits, SCOPES } from '../../src/access/caller.ts';
import { buildProbeApp } from '../../src/http/app.ts';
import { installAccess } from '../../src/http/plugins/access.ts';
import type { App, HttpServices } from '../../src/http/services.ts';
import { createMetrics } from '../../src/observability/metrics.ts';
import { logger } from '../helpers/generate-job.ts';
import { startApi } from './start-api.ts';

/** An API whose callers are named by their header, with these limits. */
function startWith(t: Test, limits: Limits, services: Partial<HttpServices> = {}, work = true) {
  const authenticate = (header: string | undefined): Caller => ({
    tenant: header ?? 'default',
    keyName: 'k',
    scopes: SCOPES,
    limits,
  });
  return startApi(t, { work, services: { authenticate, ...services } });
}

const generate = (seed: number, authorization = 'default') => ({
  method: 'POST' as const,
  url: '/generate',
  payload: { prompts: ['Which?'], seed },
  headers: { authorization, prefer: 'wait=30' },
});

test('requests beyond the rate are refused, and every answer tells what is left', async (t) => {
  const { app } = await startWith(t, { requestsPerSecond: 0.05, requestBurst: 3 });
  const get = (authorization: string) =>
    app.inject({ method: 'GET', url: '/jobs', headers: { authorization } });
  for (const left of [2, 1, 0]) {
    const response = await get('team-a');
    t.equal(response.statusCode, 200);
    t.equal(response.headers['ratelimit-policy'], '"requests";q=3;w=60');
    t.match(response.headers['ratelimit'], new RegExp(`^"requests";r=${left};t=[0-9]+$`));
  }
  const refused = await get('team-a');
  t.equal(refused.statusCode, 429);
  t.match(refused.json(), { code: 'rate-limit-exceeded' });
  t.match(refused.headers['ratelimit'], /r=0/);
  const wait = Number(refused.headers['retry-after']);
  t.ok(wait >= 1 && wait <= 60, `Retry-After ${wait}`);
  t.equal((await get('team-b')).statusCode, 200, 'others have their own');
  for (const url of ['/livez', '/readyz', '/metrics', '/problems']) {
    t.equal((await app.inject({ method: 'GET', url })).statusCode, 200, `${url} is not counted`);
  }
});

test('a tenant that has as much as it may makes no more', async (t) => {
  let now = Date.now();
  const { app } = await startWith(t, { adapters: 2, storedBytes: 10_000 }, { now: () => now });
  for (const seed of [1, 2]) t.match((await app.inject(generate(seed))).json(), { status: 'succeeded' });
  const usage = async () =>
    (await app.inject({ method: 'GET', url: '/usage', headers: { authorization: 'default' } })).json();
  // What was counted before the two were made may be used for ten seconds.
  now += 11_000;
  const refused = await app.inject(generate(3));
  t.equal(refused.statusCode, 429);
  t.match(refused.json(), { code: 'quota-adapters-exceeded' });
  t.ok(refused.headers['retry-after']);
  t.match(await usage(), {
    tenant: 'default',
    key: 'k',
    scopes: SCOPES,
    adapters: { used: 2, limit: 2 },
    storedBytes: { limit: 10_000 },
    waitingJobs: { used: 0 },
    runningJobs: { used: 0 },
  });
  t.match((await app.inject(generate(3, 'team-b'))).json(), { status: 'succeeded' }, 'others may');
});

test('a tenant that has as many bytes as it may makes no more', async (t) => {
  let now = Date.now();
  const { app } = await startWith(t, { storedBytes: 1 }, { now: () => now });
  t.match((await app.inject(generate(1))).json(), { status: 'succeeded' });
  now += 11_000;
  const refused = await app.inject(generate(2));
  t.match(refused.json(), { status: 429, code: 'quota-stored-bytes-exceeded' });
});

test('a tenant’s jobs wait up to its bound', async (t) => {
  const { app } = await startWith(t, { waitingJobs: 2 }, {}, false);
  const submit = (seed: number, authorization: string) =>
    app.inject({ ...generate(seed), headers: { authorization } });
  for (const seed of [1, 2]) t.equal((await submit(seed, 'team-a')).statusCode, 202);
  const refused = await submit(3, 'team-a');
  t.match(refused.json(), { status: 429, code: 'quota-waiting-exceeded' });
  t.ok(refused.headers['retry-after']);
  t.equal((await submit(3, 'team-b')).statusCode, 202);
});

test('metrics need a key where that is set, in a worker too', async (t) => {
  const { app } = await startWith(t, {}, { metricsAccess: 'admin' });
  t.equal((await app.inject({ method: 'GET', url: '/metrics' })).statusCode, 200);
  const document = (await app.inject({ method: 'GET', url: '/openapi.json' })).json();
  t.match(document.paths['/metrics'].get.security, [{ apiKey: ['admin'] }]);
  const worker = await buildProbeApp({
    readiness: async () => ({ ready: true, parts: {} }),
    metrics: createMetrics(),
    metricsAccess: 'admin',
    authenticate: () => ({ tenant: 'default', keyName: 'k', scopes: ['read'], limits: {} }),
    rates: { take: async () => ({ allowed: true, remaining: 1, resetMs: 0 }) },
    logger,
  });
  t.teardown(() => worker.close());
  t.match((await worker.inject({ method: 'GET', url: '/metrics' })).json(), { code: 'scope-missing' });
  t.equal((await worker.inject({ method: 'GET', url: '/livez' })).statusCode, 200);
});

test('a route that names no access cannot be added, and what is not there needs no key', async (t) => {
  const { app } = await startWith(t, {}, {}, false);
  t.equal((await app.inject({ method: 'GET', url: '/nowhere' })).statusCode, 404);
  t.equal((await app.inject({ method: 'PATCH', url: '/jobs' })).statusCode, 405);
  const bare = Fastify();
  installAccess(bare as unknown as App, {
    authenticate: () => ({ tenant: 'default', scopes: [], limits: {} }),
    rates: { take: async () => ({ allowed: true, remaining: 1, resetMs: 0 }) },
  });
  t.throws(() => bare.get('/open', async () => 'everything'), { message: /names no access/ });
});
