/** The servers that a fleet's queue can be on, as something that breaks. */
import { spawnSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import type { Test } from 'tap';
import { until } from '../../helpers/loradrop-process.ts';
import { startPostgres } from '../../helpers/postgres.ts';
import { launchRedis, startRedis } from '../../helpers/redis.ts';
import { requireProgram, serverPort, startForTest, type TestServer } from '../../helpers/services.ts';
import { childrenOf } from './kept-process.ts';

/** Which server. */
export type QueueKind = 'redis' | 'postgres' | 'sentinel';

/** A queue's server. */
export type QueueServer = {
  readonly kind: QueueKind;
  /** Where the server listens, for a proxy before it; undefined where clients find it by themselves. */
  readonly port: number | undefined;
  /** `QUEUE_URL` for processes that reach it at this port. */
  url(port: number | undefined): string;
  /** Ends it by SIGKILL and brings it back on the same files, or has another take its place. */
  crash(): Promise<void>;
  /** Ends one of its processes of several, where there are such. */
  readonly crashBackend?: () => Promise<void>;
  /** Stops all of its processes, and lets them go on. */
  readonly hang?: (go: Promise<void>) => Promise<void>;
};

/** Acknowledged means written and flushed: what docs/storage.md asks for. */
const DURABLE = ['--appendfsync', 'always'];

/** Starts the server of that kind. Undefined, and the test skipped, where it is not installed. */
export async function startQueueServer(t: Test, kind: QueueKind): Promise<QueueServer | undefined> {
  if (kind === 'sentinel') return startSentinel(t);
  const server = await (kind === 'redis' ? startRedis(t, DURABLE) : startPostgres(t));
  return server && (kind === 'redis' ? redisServer(server) : postgresServer(server));
}

function redisServer(server: TestServer): QueueServer {
  return {
    kind: 'redis',
    port: server.port,
    url: (port) => `redis://127.0.0.1:${port}`,
    async crash() {
      await server.kill();
      await server.restart();
    },
    hang: (go) => hang([server.pid()], go),
  };
}

function postgresServer(server: TestServer): QueueServer {
  const all = () => [server.pid(), ...childrenOf(server.pid())];
  return {
    kind: 'postgres',
    port: server.port,
    url: (port) => `postgres://loradrop@127.0.0.1:${port}/postgres`,
    async crash() {
      for (const pid of all()) signal(pid, 'SIGKILL');
      await server.kill();
      await server.restart();
    },
    async crashBackend() {
      // PostgreSQL ends all others and recovers when one of them dies like that.
      const [backend] = all()
        .slice(1)
        .filter((pid) => isClientBackend(pid))
        .slice(-1);
      if (backend !== undefined) signal(backend, 'SIGKILL');
    },
    hang: (go) => hang(all(), go),
  };
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It is gone already.
  }
}

function isClientBackend(pid: number): boolean {
  const { stdout } = spawnSync('ps', ['-o', 'args=', '-p', String(pid)], { encoding: 'utf8' });
  return /^postgres: loradrop /.test(stdout);
}

async function hang(pids: readonly number[], go: Promise<void>): Promise<void> {
  for (const pid of pids) signal(pid, 'SIGSTOP');
  await go;
  for (const pid of pids) signal(pid, 'SIGCONT');
}

const MASTER = 'ours';

/** A master, a replica and three sentinels, on real processes. A crash of the master makes the other one master. */
async function startSentinel(t: Test): Promise<QueueServer | undefined> {
  const ports: number[] = [];
  while (ports.length < 5) ports.push(await serverPort());
  const [first, second, ...sentinels] = ports as [number, number, number, number, number];
  const launch = (port: number, ...args: string[]) =>
    startForTest(t, 'redis-server', () => launchRedis(port, ...args));
  const servers = new Map<number, TestServer>();
  const data = ['--appendonly', 'yes', ...DURABLE];
  const master = await launch(first, ...data);
  // Where a node begins as a replica, it says so at every start; the sentinels set it right.
  const replica = await launch(second, ...data, '--replicaof', `127.0.0.1 ${first}`);
  if (!master || !replica) return undefined;
  servers.set(first, master).set(second, replica);
  for (const port of sentinels) {
    const config = join(t.testdirName, `sentinel-${port}.conf`);
    await writeFile(
      config,
      `sentinel monitor ${MASTER} 127.0.0.1 ${first} 2
sentinel down-after-milliseconds ${MASTER} 500
sentinel failover-timeout ${MASTER} 3000
sentinel parallel-syncs ${MASTER} 1
`,
    );
    await launch(port, config, '--sentinel');
  }
  const sentinel = new Redis({ port: sentinels[0]! });
  t.teardown(() => sentinel.disconnect());
  const masterPort = async () =>
    Number(((await sentinel.call('SENTINEL', 'get-master-addr-by-name', MASTER)) as string[])[1]);
  const seen = async (what: 'replicas' | 'sentinels') =>
    ((await sentinel.call('SENTINEL', what, MASTER)) as unknown[]).length;
  await until(async () => (await seen('sentinels')) === 2 && (await seen('replicas')) === 1);
  const inSync = async (port: number) => {
    const { stdout } = spawnSync(requireProgram('redis-cli'), ['-p', String(port), 'info', 'replication'], {
      encoding: 'utf8',
    });
    return stdout.includes('role:slave') && stdout.includes('master_link_status:up');
  };
  await until(() => inSync(second));
  return {
    kind: 'sentinel',
    port: undefined,
    url: () => `redis+sentinel://${sentinels.map((port) => `127.0.0.1:${port}`).join(',')}/${MASTER}`,
    async crash() {
      const old = await masterPort();
      await servers.get(old)!.kill();
      await until(async () => (await masterPort()) !== old);
      await servers.get(old)!.restart();
      // Not before the one that came back follows the new one is there a node that can take its place.
      await until(() => inSync(old));
    },
  };
}
