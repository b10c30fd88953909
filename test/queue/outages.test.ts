import { Redis } from 'ioredis';
import { type Test, test } from 'tap';
import { startLoradrop, until } from '../helpers/loradrop-process.ts';
import { startPostgres } from '../helpers/postgres.ts';
import { startRedis } from '../helpers/redis.ts';

type Line = {
  readonly level: number;
  readonly msg: string;
  readonly awayMs?: number;
  readonly err?: { readonly message: string };
};

/** What a process has logged. */
const linesOf = (printed: string): Line[] =>
  printed
    .split('\n')
    .filter((line) => line.startsWith('{') && line.endsWith('}'))
    .map((line) => JSON.parse(line) as Line);
const WARN = 40;

/** A service that is up in every part: readiness is told a moment before the workers begin. */
async function startService(t: Test, queueUrl: string) {
  const service = await startLoradrop(t, 'start', {
    DATA_DIR: t.testdir({}),
    QUEUE_URL: queueUrl,
    LOG_LEVEL: 'debug',
  });
  await until(async () => linesOf(service.output()).some(({ msg }) => msg === 'ready'));
  return service;
}

// BullMQ tells of every attempt to reach Redis again, and of none to reach PostgreSQL.
for (const [name, start, attempts] of [
  ['Redis', startRedis, 10],
  ['PostgreSQL', startPostgres, 1],
] as const) {
  test(`an outage of ${name} is one line when it goes and one when it is back`, {
    timeout: 120_000,
  }, async (t) => {
    const server = await start(t);
    if (!server) return;
    const service = await startService(t, server.url);
    const lines = () => linesOf(service.output());
    const before = lines().length;
    // A server on a busy machine may have been away for a moment at the start, which is told too.
    const said = (msg: string) =>
      lines()
        .slice(before)
        .filter((line) => line.msg === msg);
    const down = `${name} cannot be reached`;
    await server.kill();
    await until(async () => said(down).length >= attempts);
    await until(async () => (await fetch(`${service.url}/readyz`)).status === 503);
    await server.restart();
    await until(async () => (await fetch(`${service.url}/readyz`)).status === 200);
    await until(async () => said(`${name} answers again`).length > 0);
    const loud = lines()
      .slice(before)
      // A run of the clock's that the outage cut off is an event of its own.
      .filter(({ level, msg }) => level >= WARN && msg !== 'job ended')
      .map(({ msg, err }) => `${msg}: ${err?.message}`);
    t.match(loud, [new RegExp(`^${down}: `)]);
    t.strictSame(loud.slice(1), []);
    const [back, ...more] = said(`${name} answers again`);
    t.ok((back?.awayMs ?? 0) > 0);
    t.strictSame(more, []);
  });
}

test('a password that changes while the service runs is told as one, once', async (t) => {
  const server = await startRedis(t);
  if (!server) return;
  const service = await startService(t, server.url);
  const admin = new Redis({ port: server.port });
  t.teardown(() => admin.disconnect());
  await admin.call('ACL', 'SETUSER', 'default', 'resetpass', '>pw');
  await admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
  const refusals = () =>
    linesOf(service.output()).filter(({ msg }) => msg === 'Redis refuses the connection: NOAUTH');
  await until(async () => refusals().length >= 5);
  t.equal(refusals().filter(({ level }) => level >= WARN).length, 1);
  const ready = await fetch(`${service.url}/readyz`);
  t.equal(ready.status, 503);
  t.match(await ready.text(), /refuses the connection with NOAUTH/, 'readiness says what the server said');
  await admin.call('ACL', 'SETUSER', 'default', 'nopass');
  await until(async () => (await fetch(`${service.url}/readyz`)).status === 200);
});
