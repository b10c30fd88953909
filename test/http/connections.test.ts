import { once } from 'node:events';
import { Agent, request as httpRequest, type IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import { promisify } from 'node:util';
import type { FastifyInstance } from 'fastify';
import { pino } from 'pino';
import { type Test, test } from 'tap';
import { buildProbeApp } from '../../src/http/app.ts';
import {
  type ConnectionLimits,
  DEFAULT_CONNECTION_LIMITS,
  type FrontDoor,
} from '../../src/http/front-door.ts';
import { LOOPBACK_HOSTS } from '../../src/http/hosts.ts';
import { createMetrics } from '../../src/observability/metrics.ts';
import { until } from '../helpers/loradrop-process.ts';
import { bodyOf, rawExchange } from './raw-exchange.ts';
import { startApi } from './start-api.ts';

/** A front door for this machine with these limits. */
const doorWith = (limits: Partial<ConnectionLimits>): FrontDoor => ({
  hosts: LOOPBACK_HOSTS,
  connections: { ...DEFAULT_CONNECTION_LIMITS, ...limits },
});

/** Where an application listens, and how many connections it has. */
const facts = ({ server }: FastifyInstance, url: string) => ({
  url,
  port: Number(new URL(url).port),
  count: promisify(server.getConnections.bind(server)),
});

/** The whole API. */
async function listenWith(t: Test, limits: Partial<ConnectionLimits>) {
  const api = await startApi(t, { services: { frontDoor: doorWith(limits) } });
  return { api, ...facts(api.app, await api.listen()) };
}

/** Probes alone, which open quicker. */
async function listenToProbes(t: Test, limits: Partial<ConnectionLimits>) {
  const lines: string[] = [];
  const app = await buildProbeApp({
    readiness: async () => ({ ready: true, parts: {} }),
    metrics: createMetrics(),
    logger: pino({ level: 'trace' }, { write: (text: string) => void lines.push(text) }),
    frontDoor: doorWith(limits),
  });
  t.teardown(() => app.close());
  return { logged: () => lines.join(''), ...facts(app, await app.listen({ host: '127.0.0.1', port: 0 })) };
}

/** Connections to the service, destroyed at the end of the test. */
async function open(t: Test, port: number, count: number, bytes = ''): Promise<Socket[]> {
  const sockets = Array.from({ length: count }, () => connect(port, '127.0.0.1'));
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
  });
  await Promise.all(
    sockets.map(async (socket) => {
      socket.on('error', () => undefined);
      await once(socket, 'connect');
      if (bytes) socket.write(bytes);
    }),
  );
  return sockets;
}

/** Asks on a connection of its own. */
async function ask(url: string): Promise<number | undefined> {
  const agent = new Agent({ keepAlive: false });
  const [response] = (await once(httpRequest(url, { agent }).end(), 'response')) as [IncomingMessage];
  response.resume();
  await once(response, 'end');
  return response.statusCode;
}

test('a client that sends slowly is cut off with 408', async (t) => {
  const { port, count } = await listenWith(t, { headersTimeoutMs: 200, requestTimeoutMs: 600 });
  const head = 'POST /generate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n';
  for (const [name, bytes] of [
    ['nothing at all', ''],
    ['a head that stops', 'GET /livez HTTP/1.1\r\nHost: localhost\r\n'],
    ['a body that stops', `${head}Content-Length: 100\r\n\r\n{"prompts": [`],
    ['a chunk that stops', `${head}Transfer-Encoding: chunked\r\n\r\n20\r\n{"prompts"`],
    [
      'a form that stops',
      'POST /generate HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 500\r\n\r\n--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nabc',
    ],
  ] as const) {
    const answer = await rawExchange(port, bytes);
    t.match(answer, /^HTTP\/1.1 408 /, name);
    t.match(bodyOf(answer), { code: 'request-timeout', status: 408, instance: /^req_/ }, name);
  }
  // Byte after byte, and never closing: neither keeps the connection.
  const dripping = connect({ port, host: '127.0.0.1', allowHalfOpen: true }).on('error', () => undefined);
  t.teardown(() => dripping.destroy());
  const drip = setInterval(() => dripping.write('X'), 20);
  await until(async () => (await count()) === 1);
  await until(async () => (await count()) === 0);
  clearInterval(drip);
});

test('a connection without a request is closed after a while', async (t) => {
  const { port, count } = await listenToProbes(t, { keepAliveMs: 300 });
  const [socket] = await open(t, port, 1, 'GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n');
  let received = '';
  socket!.on('data', (chunk) => (received += chunk));
  await once(socket!, 'close');
  t.match(received, /^HTTP\/1.1 200 /);
  t.equal(await count(), 0);
});

test('idle connections beyond the limit give way to new ones, the one idle longest first', async (t) => {
  const { logged, url, port, count } = await listenToProbes(t, { maxConnections: 100 });
  const silent = await open(t, port, 300);
  const halfSent = await open(t, port, 200, 'GET /livez HTTP/1.1\r\nHost: loc');
  t.equal(await ask(`${url}/livez`), 200);
  await until(async () => (await count()) <= 100);
  t.ok(silent.slice(0, 200).every((socket) => socket.closed || socket.readableEnded || socket.destroyed));
  t.ok(halfSent.at(-1)!.writable, 'the newest stay');
  t.equal(logged().match(/MAX_CONNECTIONS is reached/g)?.length, 1, 'said once a minute, not each time');

  // One that was just used is not the one idle longest.
  const [used] = await open(t, port, 1);
  await open(t, port, 60);
  used!.write('GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n');
  await once(used!, 'data');
  await open(t, port, 60);
  used!.write('GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n');
  t.match(String((await once(used!, 'data'))[0]), /^HTTP\/1.1 200 /);
});

test('requests in progress are never cut off for room, and leave some to probes', async (t) => {
  const { api, url, port, count } = await listenWith(t, { maxConnections: 32 });
  const submit = await fetch(`${url}/generate`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ prompts: ['a'], name: 'held' }),
  });
  const { id } = (await submit.json()) as { id: string };
  // Two of 32 are the reserve. Node's fetch keeps its own connection, idle.
  const stream = `GET /jobs/${id}/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\nConnection: close\r\n\r\n`;
  const streams = await open(t, port, 30, stream);
  const began = await Promise.all(streams.map(async (socket) => String((await once(socket, 'data'))[0])));
  t.ok(began.every((answer) => answer.startsWith('HTTP/1.1 200 ')));

  const refused = await rawExchange(
    port,
    'GET /models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n',
  );
  t.match(refused, /^HTTP\/1.1 503 .*retry-after: 5/is);
  t.match(bodyOf(refused), { code: 'too-many-connections', status: 503 });
  for (const path of ['/livez', '/readyz', '/metrics']) t.equal(await ask(url + path), 200, path);
  // A flood on top: the probe still gets in.
  await open(t, port, 200);
  t.equal(await ask(`${url}/livez`), 200);
  t.ok((await count()) <= 32);
  t.ok(
    streams.every((socket) => socket.writable && !socket.readableEnded),
    'every stream is still there',
  );

  api.release();
  await Promise.all(streams.map((socket) => once(socket.resume(), 'end')));
  t.equal(await ask(`${url}/models`), 200, 'there is room again');
});

test('five hundred idle connections below the limit do not stop a probe', async (t) => {
  const { url, port, count } = await listenToProbes(t, {});
  await open(t, port, 500);
  t.equal(await ask(`${url}/readyz`), 200);
  t.ok((await count()) >= 500);
});
