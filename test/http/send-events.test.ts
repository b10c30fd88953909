/** Streams to clients that do not read, over real connections. */
import { once } from 'node:events';
import { type AddressInfo, connect } from 'node:net';
import Fastify from 'fastify';
import { test } from 'tap';
import { sendStream } from '../../src/http/send-events.ts';

test('a client that does not read ends its stream after a while; one that reads slowly does not', async (t) => {
  const app = Fastify();
  t.teardown(() => app.close());
  const ended = new Map<string, () => void>();
  const piece = `data: ${'x'.repeat(100_000)}\n\n`;
  app.get<{ Params: { who: string } }>('/:who', (request, reply) => {
    const events = async function* () {
      try {
        for (;;) yield piece;
      } finally {
        ended.get(request.params.who)?.();
      }
    };
    return sendStream(reply, events(), { stalledMs: 1000 });
  });
  await app.listen({ host: '127.0.0.1', port: 0 });
  const { port } = app.server.address() as AddressInfo;
  const ask = (who: string) => {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {});
    socket.pause();
    socket.write(`GET /${who} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
    const { promise, resolve } = Promise.withResolvers<void>();
    ended.set(who, resolve);
    return { socket, over: promise };
  };
  const still = ask('still');
  const slow = ask('slow');
  let isSlowOver = false;
  void slow.over.then(() => {
    isSlowOver = true;
  });
  // Takes some, again and again, more often than the limit.
  const reading = setInterval(() => {
    slow.socket.resume();
    setTimeout(() => slow.socket.pause(), 20);
  }, 100);
  t.teardown(() => clearInterval(reading));
  await still.over;
  t.notOk(isSlowOver, 'the other one goes on');
  clearInterval(reading);
  slow.socket.destroy();
  await slow.over;
  await once(slow.socket, 'close');
});
