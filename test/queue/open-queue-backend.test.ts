import { once } from 'node:events';
import { readdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { pino } from 'pino';
import { type Test, test } from 'tap';
import { openQueueBackend } from '../../src/queue/open-queue-backend.ts';
import { logger } from '../helpers/generate-job.ts';
import { launchRedis } from '../helpers/redis.ts';
import { serverPort, startForTest } from '../helpers/services.ts';

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
    for (const port of [await serverPort(), await silentPort(t)]) {
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

test('a Redis that may drop accepted jobs is warned of', async (t) => {
  const lines: string[] = [];
  const listening = pino({ level: 'warn' }, { write: (line: string) => lines.push(line) });
  for (const [policy, warnings] of [
    ['allkeys-lru', 1],
    ['noeviction', 0],
  ] as const) {
    const port = await serverPort();
    const server = await startForTest(t, 'redis-server', () =>
      launchRedis(port, '--maxmemory-policy', policy),
    );
    if (!server) return;
    lines.length = 0;
    const backend = await openQueueBackend({ url: server.url, dataDirectory: '', logger: listening });
    await backend.ready();
    await backend.close();
    t.equal(lines.filter((line) => line.includes('noeviction')).length, warnings, policy);
  }
});

test('an embedded queue that cannot be opened says where it is and what can be done', async (t) => {
  const dataDirectory = t.testdir({});
  const first = await openQueueBackend({ dataDirectory, logger });
  await first.close();
  const version = join(dataDirectory, 'queue', 'postgres', 'PG_VERSION');
  const made = await readFile(version, 'utf8');
  await writeFile(version, '9\n');
  const error = (await t.rejects(openQueueBackend({ dataDirectory, logger }), {
    code: 'queue-data-unreadable',
  })) as Error;
  t.match(error.message, /queue\/postgres in DATA_DIR/);
  t.notMatch(error.message, dataDirectory);
  await writeFile(version, made);
  const again = await openQueueBackend({ dataDirectory, logger });
  await again.close();
  t.pass('the lock was let go');

  const log = join(dataDirectory, 'queue', 'postgres', 'pg_wal');
  for (const name of await readdir(log)) {
    if (/^[0-9A-F]{24}$/.test(name)) await truncate(join(log, name), 8192);
  }
  await t.rejects(
    openQueueBackend({ dataDirectory, logger }),
    { code: 'queue-data-unreadable' },
    'a cut log',
  );
});
