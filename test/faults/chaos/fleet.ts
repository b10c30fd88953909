/** The fleet under test: real API and worker processes, each with a way of its own through Toxiproxy to the queue and the store. */
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Test } from 'tap';
import { changeSecretFile, withFirstSecret } from '../../../src/webhooks/secret-file.ts';
import { until } from '../../helpers/loradrop-process.ts';
import { objectStorageEnvironment, startVersitygw, TEST_BUCKET } from '../../helpers/object-storage.ts';
import type { TestServer } from '../../helpers/services.ts';
import { mountSmallDisk } from '../../helpers/small-disk.ts';
import { startToxiproxy, type ToxicWay } from '../../helpers/toxiproxy.ts';
import { buildUntrainedBundle, UNTRAINED_BUNDLE_ID } from '../../helpers/untrained-bundle.ts';
import { SECRET } from '../../helpers/webhook-receiver.ts';
import { importSmallBundle } from '../../models/small-bundle.ts';
import { type FaultProxy, startFaultProxy } from '../../store/fault-proxy.ts';
import { type KeptProcess, keepProcess, type UnexpectedEnd } from './kept-process.ts';
import { makeMemoryGroup } from './memory-group.ts';
import { type QueueKind, type QueueServer, startQueueServer } from './queue-servers.ts';
import { type CheckingReceiver, startCheckingReceiver } from './receiver.ts';

/** Jobs of it are over in a few hundredths of a second. */
export const QUICK_MODEL = 'tiny';
/** Adapters of it are megabytes, and go to object storage in parts. */
export const LARGE_MODEL = UNTRAINED_BUNDLE_ID;
/** Near the shortest hold there is: a dead worker's job runs again after it and a third. A busy machine stops processes for a second. */
export const JOB_LOCK_MS = 3000;
const DISK_MIB = 512;
const CLOCK_LIBRARY = '/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1';

/** Where adapters go: object storage, or a small disk that all processes share. */
export type StoreKind = 's3' | 'disk';

/** A fleet to be had. */
export type FleetOptions = {
  readonly queue: QueueKind;
  readonly store: StoreKind;
  readonly apis: number;
  readonly workers: number;
};

/** A running fleet, with everything that can be broken. */
export type Fleet = {
  readonly options: FleetOptions;
  readonly directory: string;
  readonly processes: readonly KeptProcess[];
  readonly queue: QueueServer;
  /** From a process, by its name, to the queue's server. None where clients find the server by themselves. */
  readonly waysToQueue: ReadonlyMap<string, ToxicWay>;
  readonly waysToStore: ReadonlyMap<string, ToxicWay>;
  /** Object storage, and a proxy that breaks single requests to it. */
  readonly objectStorage?: { readonly server: TestServer; readonly proxy: FaultProxy; readonly url: string };
  /** The small disk. */
  readonly disk?: string;
  readonly receiver: CheckingReceiver;
  readonly wayToReceiver: ToxicWay;
  /** Temporary directory of all processes. */
  readonly temporary: string;
  readonly unexpectedEnds: readonly UnexpectedEnd[];
};

/** Starts a fleet and waits until all of it is ready. Undefined, and the test skipped, where a server is missing. */
export async function startChaosFleet(t: Test, options: FleetOptions): Promise<Fleet | undefined> {
  const directory = t.testdir({});
  const toxiproxy = await startToxiproxy(t);
  const queue = toxiproxy && (await startQueueServer(t, options.queue));
  if (!toxiproxy || !queue) return undefined;
  const objectStorage = options.store === 's3' ? await openObjectStorage(t) : undefined;
  const disk = options.store === 'disk' ? await mountSmallDisk(t, DISK_MIB) : undefined;
  if (!objectStorage && disk === undefined) return undefined;

  await importSmallBundle(directory);
  await buildUntrainedBundle({ out: join(directory, 'bundles', 'large'), seed: 0 });
  const receiver = await startCheckingReceiver(t);
  const wayToReceiver = await toxiproxy.way(receiver.port);
  const secrets = join(directory, 'webhook-secrets.json');
  await changeSecretFile(secrets, (before) =>
    withFirstSecret(before, { owner: 'default', secret: SECRET, now: Date.now() }),
  );
  const temporary = join(directory, 'tmp');
  await mkdir(temporary);

  const waysToQueue = new Map<string, ToxicWay>();
  const waysToStore = new Map<string, ToxicWay>();
  const unexpectedEnds: UnexpectedEnd[] = [];
  const clockLibrary = existsSync(CLOCK_LIBRARY) ? CLOCK_LIBRARY : undefined;
  const start = async (role: KeptProcess['role'], nth: number, of: number) => {
    const name = `${role}-${nth}`;
    const toQueue = queue.port === undefined ? undefined : await toxiproxy.way(queue.port);
    const toStore = objectStorage && (await toxiproxy.way(objectStorage.proxy.port));
    if (toQueue) waysToQueue.set(name, toQueue);
    if (toStore) waysToStore.set(name, toStore);
    // The first of several lives through the whole run: what it leaks shows.
    const mayBeKilled = nth > 0 || of === 1;
    return keepProcess({
      name,
      role,
      mayBeKilled,
      directory,
      onUnexpectedEnd: (end) => unexpectedEnds.push(end),
      ...(mayBeKilled && { clockLibrary }),
      ...(mayBeKilled && role === 'worker' && { memory: memoryOf(t, name) }),
      environment: {
        ...(toStore && { ...objectStorageEnvironment(toStore.port), S3_FORCE_PATH_STYLE: 'true' }),
        S3_PART_BYTES: String(5 << 20),
        STORE_URL: objectStorage?.url ?? join(disk!, 'store'),
        QUEUE_URL: queue.url(toQueue?.port),
        DATA_DIR: join(directory, name),
        BUNDLES_DIR: join(directory, 'bundles'),
        DEFAULT_MODEL: QUICK_MODEL,
        WEBHOOK_ALLOW: '127.0.0.1',
        WEBHOOK_SECRETS_FILE: secrets,
        JOB_LOCK_MS: String(JOB_LOCK_MS),
        DRAIN_SECONDS: '2',
        // Handles are compared when clients have gone; their connections are to be gone, too.
        KEEP_ALIVE_MS: '5000',
        THREADS: '1',
        TMPDIR: temporary,
      },
    });
  };
  const { apis, workers } = options;
  const processes = await Promise.all([
    ...Array.from({ length: apis }, (_, nth) => start('api', nth, apis)),
    ...Array.from({ length: workers }, (_, nth) => start('worker', nth, workers)),
  ]);
  t.teardown(() => Promise.all(processes.map((each) => each.stop())));
  await Promise.all(processes.map((each) => each.ready()));
  return {
    options,
    directory,
    processes,
    queue,
    waysToQueue,
    waysToStore,
    ...(objectStorage && { objectStorage }),
    ...(disk !== undefined && { disk }),
    receiver,
    wayToReceiver,
    temporary,
    unexpectedEnds,
  };
}

function memoryOf(t: Test, name: string): KeptProcess['memory'] {
  const [whole, spare] = [makeMemoryGroup(t, name), makeMemoryGroup(t, `${name}-inference`)];
  return whole && spare && { whole, spare };
}

async function openObjectStorage(t: Test): Promise<Fleet['objectStorage']> {
  const server = await startVersitygw(t);
  if (!server) return undefined;
  const proxy = await startFaultProxy(t, server.port);
  return { server, proxy, url: `s3://${TEST_BUCKET}/fleet` };
}

/** Waits until every process answers that it is ready, all at once. */
export async function allReady({ processes }: Fleet, timeoutMs = 600_000): Promise<void> {
  await until(async () => {
    const answers = await Promise.all(
      processes.map(({ url }) =>
        fetch(`${url}/readyz`, { signal: AbortSignal.timeout(30_000) }).then(
          async (answer) => {
            await answer.body?.cancel();
            return answer.ok;
          },
          () => false,
        ),
      ),
    );
    return answers.every(Boolean);
  }, timeoutMs);
}
