import { once } from 'node:events';
import { createServer } from 'node:net';
import { type Test, test } from 'tap';
import { openQueueBackend } from '../../src/jobs/open-queue-backend.ts';
import { logger } from '../helpers/generate-job.ts';
import { freePort } from '../helpers/loradrop-process.ts';

test('an address of another kind is refused with those there are', async (t) => {
  for (const url of ['amqp://u:hidden@h', 'hidden', 'http://hidden', '//hidden', 'REDIS:hidden']) {
    await t.rejects(
      openQueueBackend({ url, dataDirectory: t.testdirName, logger }),
      { code: 'queue-address-invalid', message: /redis:\/\/.*sentinel.*cluster.*postgres:\/\// },
      url,
    );
    await openQueueBackend({ url, dataDirectory: t.testdirName, logger }).catch((error: Error) =>
      t.notMatch(error.message, /hidden/),
    );
  }
});

/** A server that takes connections and never says a word. */
async function silentPort(t: Test): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const sockets = new Set<{ destroy(): unknown }>();
  server.on('connection', (socket) => sockets.add(socket));
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as { port: number }).port;
}

test('a server that is not there, or is mute, is reported in seconds', async (t) => {
  for (const scheme of ['redis://u:hidden@', 'redis+cluster://', 'postgres://u:hidden@']) {
    for (const port of [await freePort(), await silentPort(t)]) {
      const from = performance.now();
      const url = `${scheme}127.0.0.1:${port}`;
      await t.rejects(openQueueBackend({ url, dataDirectory: '', logger }), {
        code: 'queue-unavailable',
        retryable: true,
      });
      t.ok(performance.now() - from < 4000, `${scheme} in ${Math.round(performance.now() - from)} ms`);
    }
  }
});
