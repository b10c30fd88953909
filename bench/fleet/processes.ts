/** A real fleet on this machine: Redis, object storage, one API process and workers, each a process. */
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { startLoradrop } from '../../test/helpers/loradrop-process.ts';
import { objectStorageEnvironment, startVersitygw, TEST_BUCKET } from '../../test/helpers/object-storage.ts';
import { startRedis } from '../../test/helpers/redis.ts';

/** A fleet that runs. */
export type RunningFleet = {
  /** Of the API. */
  readonly url: string;
  readonly redisUrl: string;
  /** Requests to object storage so far. */
  storeRequests(): number;
  /** CPU seconds of the API process so far. */
  apiCpuSeconds(): Promise<number>;
  close(): Promise<void>;
};

/** Starts a fleet with that many workers of one thread each. `bundles` is a directory of bundles. */
export async function startFleet(options: {
  readonly workers: number;
  readonly bundles: string;
  readonly concurrency: number;
}): Promise<RunningFleet> {
  const closers: (() => unknown)[] = [];
  const close = async () => {
    for (const closer of closers.splice(0).reverse()) await closer();
  };
  // The helpers of tests end what they start with a test; here the fleet's end takes its place.
  const owner = { teardown: (closer: () => unknown) => void closers.push(closer) } as unknown as Test;
  try {
    const redis = await startRedis();
    closers.push(() => redis.stop());
    const storage = (await startVersitygw(owner))!;
    const counter = await startCounter(storage.port);
    closers.push(counter.close);
    const environment = {
      ...objectStorageEnvironment(counter.port),
      BUNDLES_DIR: options.bundles,
      QUEUE_URL: redis.url,
      STORE_URL: `s3://${TEST_BUCKET}/fleet`,
      LOG_LEVEL: 'info',
      THREADS: '1',
      CONCURRENCY: String(options.concurrency),
    };
    const start = async (command: 'serve' | 'worker') => {
      const directory = await mkdtemp(join(tmpdir(), 'loradrop-fleet-'));
      closers.push(() => rm(directory, { recursive: true, force: true }));
      const { url, child } = await startLoradrop(owner, command, { ...environment, DATA_DIR: directory });
      // Also where the benchmark is interrupted.
      process.once('exit', () => child.kill('SIGKILL'));
      return url;
    };
    const url = await start('serve');
    for (let worker = 0; worker < options.workers; worker++) await start('worker');
    return {
      url,
      redisUrl: redis.url,
      storeRequests: counter.count,
      async apiCpuSeconds() {
        const text = await (await fetch(`${url}/metrics`)).text();
        return Number(/^process_cpu_seconds_total (\S+)/m.exec(text)?.[1]);
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Passes requests on as they are, so that their signatures hold, and counts them. */
async function startCounter(port: number) {
  let requests = 0;
  const server = createServer((incoming, response) => {
    requests += 1;
    const { method, url: path, headers } = incoming;
    const outgoing = request({ host: '127.0.0.1', port, method, path, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    outgoing.on('error', () => response.destroy());
    incoming.pipe(outgoing);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    count: () => requests,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
