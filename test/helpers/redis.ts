import { Redis } from 'ioredis';
import type { Test } from 'tap';
import {
  keepServer,
  requireProgram,
  serverDirectory,
  serverPort,
  startForTest,
  type TestServer,
} from './services.ts';

/** True when the Redis at that port answers. */
export async function redisAnswers(port: number): Promise<boolean> {
  const client = new Redis({
    port,
    lazyConnect: true,
    retryStrategy: () => null,
    maxRetriesPerRequest: 0,
    disconnectTimeout: 1,
  });
  client.on('error', () => {});
  try {
    await client.connect();
    return (await client.ping()) === 'PONG';
  } catch {
    return false;
  } finally {
    client.disconnect();
  }
}

/** A `redis-server` process with these arguments; a configuration file goes first. */
export async function launchRedis(port: number, ...args: string[]): Promise<TestServer> {
  const program = requireProgram('redis-server');
  const directory = await serverDirectory('redis');
  return keepServer({
    url: `redis://127.0.0.1:${port}`,
    port,
    directory,
    command: [program, ...args, '--port', String(port), '--bind', '127.0.0.1', '--dir', directory],
    killSignal: 'SIGKILL',
    answers: () => redisAnswers(port),
  });
}

/**
 * Starts a `redis-server` that keeps an append-only file, on a port of its own. With a test it is stopped at the test's
 * end, and without the program the test is skipped and undefined comes back; without a test it is the caller's to stop.
 */
export function startRedis(): Promise<TestServer>;
export function startRedis(t: Test, settings?: readonly string[]): Promise<TestServer | undefined>;
export async function startRedis(
  t?: Test,
  settings: readonly string[] = [],
): Promise<TestServer | undefined> {
  const start = async () => launchRedis(await serverPort(), '--appendonly', 'yes', ...settings);
  return t ? startForTest(t, 'redis-server', start) : start();
}
