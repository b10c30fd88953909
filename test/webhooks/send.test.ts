import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createServer as createTcpServer, type Socket } from 'node:net';
import { type Test, test } from 'tap';
import { createAddressGuard } from '../../src/webhooks/address-guard.ts';
import { parseAllowList } from '../../src/webhooks/networks.ts';
import { createWebhookClient, readRetryAfter, type WebhookClientOptions } from '../../src/webhooks/send.ts';
import { loopbackGuard, startReceiver } from '../helpers/webhook-receiver.ts';

function clientOf(t: Test, options: Partial<WebhookClientOptions> = {}) {
  const client = createWebhookClient({ guard: loopbackGuard(), ...options });
  t.teardown(() => client.close());
  const { signal } = new AbortController();
  return (url: string, body = '{}') => client.send({ url, body, signal, headers: { 'x-test': '1' } });
}

async function receiverOf(t: Test, ...args: Parameters<typeof startReceiver>) {
  const receiver = await startReceiver(...args);
  t.teardown(() => receiver.close());
  return receiver;
}

/** A server that speaks in bytes. */
async function rawServer(t: Test, onConnection: (socket: Socket) => void): Promise<string> {
  const sockets = new Set<Socket>();
  const server = createTcpServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    onConnection(socket);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

test('a message arrives as it is, over a connection that is kept', async (t) => {
  const ports = new Set<number | undefined>();
  const receiver = await receiverOf(t, (_nth, response) => {
    ports.add(response.socket?.remotePort);
    return 204;
  });
  const send = clientOf(t);
  const body = JSON.stringify({ type: 'job.failed', data: { id: 'é☃' } });
  for (let n = 0; n < 3; n++) t.strictSame(await send(receiver.url, body), { status: 204 });
  t.equal(receiver.received.length, 3);
  t.match(receiver.received[0], {
    body,
    headers: { 'x-test': '1', 'content-length': String(Buffer.byteLength(body)) },
  });
  t.equal(ports.size, 1);
});

test('a name and password in the address are sent as such', async (t) => {
  const receiver = await receiverOf(t);
  await clientOf(t)(receiver.url.replace('//', '//us%40er:pass@'));
  const expected = `Basic ${Buffer.from('us@er:pass').toString('base64')}`;
  t.match(receiver.received[0], { headers: { authorization: expected } });
});

test('a redirect is not followed, and proxies of the environment are not used', async (t) => {
  const elsewhere = await receiverOf(t);
  const receiver = await receiverOf(t, (_nth, response) => {
    response.writeHead(307, { location: elsewhere.url }).end();
    return undefined;
  });
  const before = { ...process.env };
  t.teardown(() => {
    process.env = before;
  });
  process.env['HTTP_PROXY'] = process.env['http_proxy'] = elsewhere.url;
  process.env['NODE_USE_ENV_PROXY'] = '1';
  t.strictSame(await clientOf(t)(receiver.url), { status: 307 });
  t.equal(elsewhere.received.length, 0);
});

test('an answer is read to its limit, and its status counts', async (t) => {
  let written = 0;
  const receiver = await receiverOf(t, (_nth, response) => {
    response.writeHead(200);
    const chunk = Buffer.alloc(64 * 1024);
    const write = () => {
      while (!response.destroyed && response.write(chunk)) written += chunk.length;
    };
    response.on('drain', write);
    response.on('error', () => {});
    write();
    return undefined;
  });
  t.strictSame(await clientOf(t)(receiver.url), { status: 200 });
  t.ok(written < 64 * 1024 * 1024, 'what is not read is not sent for long');
});

test('a receiver that is silent, or never ends its answer, is left in time', async (t) => {
  const send = clientOf(t, { timeoutMs: 200 });
  t.strictSame(await send(await rawServer(t, () => {})), { failure: 'timeout' });
  const halfHead = await rawServer(t, (socket) => socket.write('HTTP/1.1 200 OK\r\nx: '));
  t.strictSame(await send(halfHead), { failure: 'timeout' });
  const endless = await rawServer(t, (socket) => {
    socket.write('HTTP/1.1 500 Oh\r\ncontent-length: 10\r\n\r\nabc');
  });
  t.strictSame(await send(endless), { status: 500 }, 'its status is known');
});

test('every way to fail has a name', async (t) => {
  const send = clientOf(t);
  const gone = await rawServer(t, (socket) => socket.destroy());
  t.strictSame(await send(gone), { failure: 'connection-reset' });
  const closed = await startReceiver();
  await closed.close();
  t.strictSame(await send(closed.url), { failure: 'connection-refused' });
  t.strictSame(await send(closed.url.replace('http:', 'https:')), { failure: 'connection-refused' });
  const notHttp = await rawServer(t, (socket) => socket.end('SSH-2.0-OpenSSH_9.2\r\n'));
  t.strictSame(await send(notHttp), { failure: 'not-http' });
  t.strictSame(await send(notHttp.replace('http:', 'https:')), { failure: 'tls-failed' });
  t.strictSame(await send('http://127.0.0.2/'), { failure: 'address-refused' });
  t.strictSame(await send('nonsense'), { failure: 'address-refused' });
});

test('a name that turns to a private address between two look-ups is not connected to', async (t) => {
  const receiver = await receiverOf(t);
  const { port } = new URL(receiver.url);
  let asked = 0;
  const guard = createAddressGuard({
    allow: parseAllowList('none'),
    ports: [Number(port)],
    resolvePublic: async () => (asked++ === 0 ? ['93.184.216.34'] : ['127.0.0.1']),
  });
  const url = `https://rebinding.example:${port}/`;
  await guard.check(url);
  t.strictSame(await clientOf(t, { guard })(url), { failure: 'address-refused' });
  t.equal(asked, 2);
  const unknown = createAddressGuard({
    allow: parseAllowList('none'),
    ports: [443],
    resolvePublic: async () => Promise.reject(new Error('ENOTFOUND')),
  });
  t.strictSame(await clientOf(t, { guard: unknown })('https://nowhere.example/'), {
    failure: 'name-unresolvable',
  });
  t.equal(receiver.received.length, 0);
});

test('a kept connection that the receiver has closed is no failure', async (t) => {
  let answered = 0;
  const url = await rawServer(t, (socket) => {
    let requests = 0;
    socket.on('data', () => {
      // Answers once, then takes the next request on the same connection and hangs up on it.
      if (requests++ > 0) socket.resetAndDestroy();
      else {
        answered++;
        socket.write('HTTP/1.1 204 No Content\r\nconnection: keep-alive\r\n\r\n');
      }
    });
  });
  const send = clientOf(t);
  t.strictSame(await send(url), { status: 204 });
  t.strictSame(await send(url), { status: 204 });
  t.equal(answered, 2);
});

test('stopping ends an attempt with the reason', async (t) => {
  const url = await rawServer(t, () => {});
  const client = createWebhookClient({ guard: loopbackGuard() });
  t.teardown(() => client.close());
  const stop = new AbortController();
  const sending = client.send({ url, body: '{}', headers: {}, signal: stop.signal });
  const reason = new Error('stopping');
  setImmediate(() => stop.abort(reason));
  await t.rejects(sending, reason);
});

test('Retry-After is seconds or a date, and at most a day', (t) => {
  const now = Date.parse('2026-11-26T00:00:00Z');
  t.equal(readRetryAfter(undefined, now), undefined);
  t.equal(readRetryAfter('soon', now), undefined);
  t.equal(readRetryAfter('120', now), 120_000);
  t.equal(readRetryAfter('Thu, 26 Nov 2026 00:01:00 GMT', now), 60_000);
  t.equal(readRetryAfter('Thu, 26 Nov 2020 00:01:00 GMT', now), 0);
  t.equal(readRetryAfter('999999999', now), 86_400_000);
  t.end();
});
