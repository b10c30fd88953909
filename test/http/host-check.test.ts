import type { InjectOptions } from 'fastify';
import { pino } from 'pino';
import { test } from 'tap';
import { buildProbeApp } from '../../src/http/app.ts';
import { DEFAULT_CONNECTION_LIMITS } from '../../src/http/front-door.ts';
import { hostRule, LOOPBACK_HOSTS } from '../../src/http/hosts.ts';
import type { Problem } from '../../src/http/problem.ts';
import { createLogger } from '../../src/observability/logger.ts';
import { createMetrics } from '../../src/observability/metrics.ts';
import { bodyOf, rawExchange } from './raw-exchange.ts';
import { startApi } from './start-api.ts';

/** What a browser sends for a page whose name was made to resolve to this machine. */
const REBINDING = { host: 'attacker.example:8080', 'sec-fetch-site': 'same-origin' };
const connections = DEFAULT_CONNECTION_LIMITS;

test('a rebinding page gets 421 at every address', async (t) => {
  const { app, queue } = await startApi(t);
  const document = (await app.inject('/openapi.json')).json<{ paths: Record<string, object> }>();
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => ({ method, url: path.replaceAll(/\{\w+\}/g, 'some') })),
  );
  t.ok(operations.length > 10);
  const others = ['/docs', '/docs/', '/docs/static/index.html', '/docs/json', '/nothing', '/'];
  const requests: InjectOptions[] = [...operations, ...others.map((url) => ({ method: 'get', url }))].map(
    ({ method, url }) => ({ method: method.toUpperCase() as 'GET', url, headers: REBINDING }),
  );
  for (const method of ['HEAD', 'OPTIONS', 'PATCH'] as const) {
    requests.push({ method, url: '/generate', headers: REBINDING });
  }
  for (const request of requests) {
    const response = await app.inject(request);
    const name = `${request.method} ${request.url}`;
    t.equal(response.statusCode, 421, name);
    const isOpenai = String(request.url).startsWith('/v1/');
    const type = isOpenai ? /^application\/json/ : 'application/problem+json';
    t.match(response.headers, { 'content-type': type, 'x-request-id': String }, name);
    const body =
      request.method === 'HEAD' ? undefined : response.json<Problem & { error: { code: string } }>();
    if (body) t.equal(isOpenai ? body.error.code : body.code, 'misdirected-request', name);
    t.notMatch(response.body, /attacker/);
  }
  const post = (headers: Record<string, string>) =>
    app.inject({
      method: 'POST',
      url: '/generate',
      headers: { 'content-type': 'application/json', ...headers },
      payload: { prompts: ['a'] },
    });
  t.equal((await post(REBINDING)).statusCode, 421);
  t.strictSame((await queue.list({ limit: 1 })).jobs, [], 'nothing was accepted');
  t.equal((await post({ ...REBINDING, host: 'localhost:8080' })).statusCode, 202, 'its own page may');
  for (const host of ['127.0.0.1', 'app.localhost:1', '[::1]:8080']) {
    t.equal((await app.inject({ url: '/livez', headers: { host } })).statusCode, 200, host);
  }
});

test('a request target and every Host header count', async (t) => {
  const api = await startApi(t);
  const port = Number(new URL(await api.listen()).port);
  const get = (target: string, ...lines: string[]) =>
    rawExchange(port, `GET ${target} HTTP/1.1\r\n${[...lines, 'Connection: close'].join('\r\n')}\r\n\r\n`);
  for (const [name, answer, status, code] of [
    ['no host', get('/livez'), 400, 'request-malformed'],
    ['two hosts', get('/livez', 'Host: localhost', 'host: localhost'), 400, 'request-malformed'],
    ['a host that is none', get('/livez', 'Host: local host'), 400, 'request-malformed'],
    ['a host with a user', get('/livez', 'Host: a@localhost'), 400, 'request-malformed'],
    ['an empty host', get('/livez', 'Host:'), 421, 'misdirected-request'],
    [
      'another host in the target',
      get('http://attacker.example/livez', 'Host: localhost'),
      421,
      'misdirected-request',
    ],
    [
      'another host in Host',
      get('http://localhost/livez', 'Host: attacker.example'),
      421,
      'misdirected-request',
    ],
    [
      'a target with a user',
      get('http://localhost@attacker.example/livez', 'Host: localhost'),
      400,
      'request-malformed',
    ],
    ['HTTP/1.0 without a host', rawExchange(port, 'GET /livez HTTP/1.0\r\n\r\n'), 421, 'misdirected-request'],
  ] as const) {
    t.match(bodyOf(await answer), { status, code }, name);
  }
  t.match(await get('http://localhost/livez', 'Host: 127.0.0.1'), /^HTTP\/1.1 200 /);
});

test('a worker checks hosts by the same rule, and is open to every name where it has a list of none', async (t) => {
  const workerWith = async (hosts = LOOPBACK_HOSTS) => {
    const app = await buildProbeApp({
      readiness: async () => ({ ready: true, parts: {} }),
      metrics: createMetrics(),
      logger: createLogger({ level: 'silent' }),
      frontDoor: { hosts, connections },
    });
    t.teardown(() => app.close());
    return app;
  };
  const local = await workerWith();
  for (const url of ['/livez', '/readyz', '/metrics', '/problems/queue-full']) {
    t.equal((await local.inject({ url, headers: REBINDING })).statusCode, 421, url);
    t.equal((await local.inject(url)).statusCode, 200, url);
  }
  const inCluster = await workerWith(hostRule({ host: '0.0.0.0', open: false }));
  for (const host of ['10.42.0.17:8080', 'worker.ns.svc']) {
    t.equal((await inCluster.inject({ url: '/readyz', headers: { host } })).statusCode, 200, host);
  }
  const listed = await workerWith(
    hostRule({ host: '0.0.0.0', allowedHosts: ['worker.ns.svc'], open: false }),
  );
  t.equal((await listed.inject({ url: '/livez', headers: { host: 'worker.ns.svc' } })).statusCode, 200);
  t.equal((await listed.inject({ url: '/livez', headers: { host: '10.42.0.17' } })).statusCode, 421);
});

test('a trusted proxy names the client, and its hosts count beside the others', async (t) => {
  const line = async (
    trustedProxies: readonly string[] | number | undefined,
    headers: Record<string, string>,
  ) => {
    const lines: string[] = [];
    const app = await buildProbeApp({
      readiness: async () => ({ ready: true, parts: {} }),
      metrics: createMetrics(),
      logger: pino({ level: 'trace' }, { write: (text: string) => void lines.push(text) }),
      frontDoor: { hosts: LOOPBACK_HOSTS, connections, trustedProxies },
    });
    t.teardown(() => app.close());
    const { statusCode: status } = await app.inject({ url: '/livez', headers });
    const logged = lines.find((text) => text.includes('"msg":"request"'));
    return { status, ...(JSON.parse(logged!) as { client: string }) };
  };
  const forwarded = { 'x-forwarded-for': '203.0.113.9, 198.51.100.7' };
  t.match(await line(undefined, forwarded), { status: 200, client: '127.0.0.1' }, 'nobody is believed');
  t.match(await line(['10.0.0.0/8'], forwarded), { client: '127.0.0.1' }, 'nor one who is not on the list');
  t.match(
    await line(['loopback'], forwarded),
    { client: '198.51.100.7' },
    'the last proxy that is not trusted',
  );
  t.match(await line(['loopback', '198.51.100.0/24'], forwarded), { client: '203.0.113.9' });
  t.match(await line(1, forwarded), { client: '198.51.100.7' });
  t.match(await line(2, forwarded), { client: '203.0.113.9' });
  t.match(await line(1, { 'x-forwarded-for': '<script>' }), { client: '127.0.0.1' }, 'an address or nothing');
  const elsewhere = { 'x-forwarded-host': 'attacker.example' };
  t.match(await line(undefined, elsewhere), { status: 200 }, 'not looked at');
  t.match(await line(['loopback'], elsewhere), { status: 421 });
});
