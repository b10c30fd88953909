import { spawnSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { type Test, test } from 'tap';
import { createWorkers } from '../../src/jobs/workers.ts';
import { openQueueBackend } from '../../src/queue/open-queue-backend.ts';
import {
  idleHandlers,
  logger,
  openDefaultQueue,
  QUICK,
  somePayload,
  someResult,
  watchUntil,
} from '../helpers/generate-job.ts';
import { until } from '../helpers/loradrop-process.ts';
import { launchRedis } from '../helpers/redis.ts';
import { requireProgram, serverPort, startForTest } from '../helpers/services.ts';

/** Opens a queue and a worker at the address and runs one job through them. */
async function runOneJob(t: Test, url: string) {
  const backend = await openQueueBackend({ url, dataDirectory: '', logger });
  const queue = await openDefaultQueue({ backend, maxWaiting: 10, logger });
  const workers = await createWorkers({
    backend,
    handlers: {
      generate: async ({ id }) => someResult(id),
      ...idleHandlers,
    },
    concurrency: 1,
    logger,
    ...QUICK,
  });
  t.teardown(async () => {
    await workers.close({ drainMs: 0 });
    await queue.close();
    await backend.close();
  });
  await queue.submit('one', somePayload());
  const done = await watchUntil(queue, 'one', ({ finishedAt }) => finishedAt !== undefined);
  t.match(done, { status: 'succeeded', result: someResult('one') });
  t.match(await queue.list({ limit: 1 }), { jobs: [{ id: 'one' }] });
  return queue;
}

async function serverPorts(count: number): Promise<number[]> {
  const ports = new Set<number>();
  while (ports.size < count) ports.add(await serverPort());
  return [...ports];
}

test('a job runs through a Redis Cluster of three nodes', async (t) => {
  const ports = await serverPorts(3);
  for (const port of ports) {
    const node = await startForTest(t, 'redis-server', () => launchRedis(port, '--cluster-enabled', 'yes'));
    if (!node) return;
  }
  const hosts = ports.map((port) => `127.0.0.1:${port}`);
  const made = spawnSync(requireProgram('redis-cli'), ['--cluster', 'create', ...hosts, '--cluster-yes'], {
    encoding: 'utf8',
  });
  t.equal(made.status, 0, 'redis-cli makes the cluster');
  const first = new Redis({ port: ports[0]! });
  t.teardown(() => first.disconnect());
  await until(async () => (await first.cluster('INFO')).includes('cluster_state:ok'));
  await runOneJob(t, `redis+cluster://${hosts.join(',')}`);
});

test('a job runs through a Redis that Sentinel watches, before and after a failover', async (t) => {
  const [masterPort, replicaPort, sentinelPort] = (await serverPorts(3)) as [number, number, number];
  const directory = t.testdir({});
  const config = join(directory, 'sentinel.conf');
  await writeFile(
    config,
    `sentinel monitor ours 127.0.0.1 ${masterPort} 1
     sentinel down-after-milliseconds ours 500
     sentinel failover-timeout ours 3000
    `,
  );
  const master = await startForTest(t, 'redis-server', () => launchRedis(masterPort, '--appendonly', 'yes'));
  if (!master) return;
  await startForTest(t, 'redis-server', () =>
    launchRedis(replicaPort, '--replicaof', `127.0.0.1 ${masterPort}`),
  );
  await startForTest(t, 'redis-server', () => launchRedis(sentinelPort, config, '--sentinel'));
  const sentinel = new Redis({ port: sentinelPort });
  t.teardown(() => sentinel.disconnect());
  const address = async () =>
    (await sentinel.call('SENTINEL', 'get-master-addr-by-name', 'ours')) as string[];
  await until(async () => ((await sentinel.call('SENTINEL', 'replicas', 'ours')) as unknown[]).length === 1);

  const queue = await runOneJob(t, `redis+sentinel://127.0.0.1:${sentinelPort}/ours`);
  const replica = new Redis({ port: replicaPort });
  t.teardown(() => replica.disconnect());
  await until(async () => (await replica.info('replication')).includes('master_link_status:up'));
  await master.kill();
  await until(async () => (await address())[1] === String(replicaPort));
  await until(async () =>
    queue.ready().then(
      () => true,
      () => false,
    ),
  );
  t.match(await queue.find('one'), { status: 'succeeded' }, 'what was accepted before is still there');
  await until(async () =>
    queue.submit('two', somePayload({ fingerprint: 'f'.repeat(64) })).then(
      () => true,
      () => false,
    ),
  );
  t.match(await watchUntil(queue, 'two', ({ finishedAt }) => finishedAt !== undefined), {
    status: 'succeeded',
  });
});
