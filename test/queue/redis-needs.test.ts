import { Redis } from 'ioredis';
import { test } from 'tap';
import { openQueueBackend } from '../../src/queue/open-queue-backend.ts';
import { logger } from '../helpers/generate-job.ts';
import { startRedis } from '../helpers/redis.ts';

test('what a Redis does not let the queue do is named, at the start and by readiness', async (t) => {
  const server = await startRedis(t);
  if (!server) return;
  const admin = new Redis({ port: server.port });
  t.teardown(() => admin.disconnect());
  const user = (...rules: string[]) => admin.call('ACL', 'SETUSER', 'queue', 'reset', 'on', '>pw', ...rules);
  const everything = ['~{loradrop}:*', '&*', '+@all'];
  const url = (login: string, database = 0) => `redis://${login}127.0.0.1:${server.port}/${database}`;
  const open = (address: string) => openQueueBackend({ url: address, dataDirectory: '', logger });

  for (const [what, rules, command] of [
    ['no scripts', [...everything, '-eval'], 'eval'],
    ['no blocking', [...everything, '-@blocking'], 'bzpopmin'],
    ['no writing', [...everything, '-@write'], 'set'],
    ['other keys', ['~other:*', '&*', '+@all'], 'set'],
    ['no streams', [...everything, '-@stream'], 'xadd'],
  ] as const) {
    await user(...rules);
    const error = (await t.rejects(open(url('queue:pw@')), { code: 'queue-refused' }, what)) as Error;
    t.match(error.message, new RegExp(`\`${command}\` with NOPERM`), what);
  }

  await user(...everything, '-@dangerous', '-info');
  const backend = await open(url('queue:pw@'));
  t.teardown(() => backend.close());
  await t.resolves(backend.ready(), 'INFO serves advice alone');
  await user(...everything, '-bzpopmin');
  await t.rejects(
    backend.ready(),
    { code: 'queue-refused', message: /bzpopmin/ },
    'not ready while workers cannot fetch',
  );
  await user(...everything);
  await t.resolves(backend.ready());
});

test('a password that is missing or wrong is told as one', async (t) => {
  const server = await startRedis(t);
  if (!server) return;
  const admin = new Redis({ port: server.port });
  t.teardown(() => admin.disconnect());
  await admin.call('ACL', 'SETUSER', 'default', 'resetpass', '>pw');
  for (const [scheme, login, path, code] of [
    ['redis', '', '', 'NOAUTH'],
    ['redis', ':other@', '', 'WRONGPASS'],
    // A sentinel and a node of a cluster refuse as any server does; ioredis words it in its own way.
    ['redis+sentinel', '', '/master', 'NOAUTH'],
    ['redis+cluster', '', '', 'NOAUTH'],
    ['redis+cluster', ':other@', '', 'WRONGPASS'],
  ]) {
    const url = `${scheme}://${login}127.0.0.1:${server.port}${path}`;
    const error = (await t.rejects(openQueueBackend({ url, dataDirectory: '', logger }), {
      code: 'queue-refused',
    })) as Error;
    t.match(error.message, new RegExp(`${code}`));
  }
});

test('a database that the server does not have stops the start', async (t) => {
  const server = await startRedis(t, ['--databases', '4']);
  if (!server) return;
  const open = (database: number) =>
    openQueueBackend({ url: `redis://127.0.0.1:${server.port}/${database}`, dataDirectory: '', logger });
  const backend = await open(3);
  await backend.close();
  await t.rejects(open(9), { code: 'queue-address-invalid', message: /no database 9/ });
});
