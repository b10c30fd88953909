/** What copies to destinations must do over every queue backend, against real object storage. */
import { rm } from 'node:fs/promises';
import { GetObjectCommand, ListObjectsV2Command } from '@aws-sdk/client-s3';
import { type Test, test } from 'tap';
import { sha256 } from '../../src/base/digest.ts';
import { DEFAULT_TENANT } from '../../src/base/ids.ts';
import type { GeneratePayload } from '../../src/jobs/catalog.ts';
import { type Copy, copyToCome } from '../../src/jobs/copies.ts';
import { createCopyHandler } from '../../src/jobs/copy.ts';
import { createExpireHandler } from '../../src/jobs/expire.ts';
import type { GenerateRecord } from '../../src/jobs/generate-queue.ts';
import { firstLook } from '../../src/jobs/notify.ts';
import { createWorkers, type JobHandler } from '../../src/jobs/workers.ts';
import { loraErrors } from '../../src/lora/errors.ts';
import { createMetrics } from '../../src/observability/metrics.ts';
import { toQueueId } from '../../src/queue/stored-job.ts';
import { openDestinations } from '../../src/store/destinations.ts';
import { openLocalStore } from '../../src/store/local.ts';
import {
  idleHandlers,
  logger,
  noDeployments,
  noFiles,
  noValidations,
  openDefaultQueue,
  QUICK,
  somePayload,
  someResult,
} from '../helpers/generate-job.ts';
import { until } from '../helpers/loradrop-process.ts';
import {
  objectStorageClient,
  objectStorageEnvironment,
  startVersitygw,
  TEST_BUCKET,
} from '../helpers/object-storage.ts';
import { openTestWebhooks } from '../helpers/open-test-webhooks.ts';
import { serverDirectory } from '../helpers/services.ts';
import { startReceiver } from '../helpers/webhook-receiver.ts';
import { startFaultProxy } from '../store/fault-proxy.ts';
import type { QueueSuiteBackend } from './queue.ts';
import { patternBytes, sampleRecord } from './store-samples.ts';

const weights = 'adapter_model.safetensors';
const config = 'adapter_config.json';
const WEIGHTS = patternBytes(300_000);

const byClock = () => ({
  tenant: DEFAULT_TENANT,
  id: 'clock',
  payload: {},
  attempt: 1,
  signal: new AbortController().signal,
  isOver: async () => false,
  report() {},
});

type OpenOptions = {
  readonly handler?: JobHandler<'generate'>;
  readonly hints?: boolean;
  readonly copyGiveUpMs?: number;
  /** What `DESTINATIONS` of the worker is. */
  readonly allowed?: string;
};

/** Runs the suite against one backend. */
export function copySuite(name: string, start: (t: Test) => Promise<QueueSuiteBackend | undefined>): void {
  test(`copies on ${name}`, { timeout: 180_000 }, async (t) => {
    const suite = await start(t);
    const server = suite && (await startVersitygw(t));
    if (!suite || !server) return;
    const backend = await suite.connect();
    const index = backend.index('generate');
    // The backend's own files may lie in the directory of the test.
    const directory = await serverDirectory('copies');
    const store = await openLocalStore({ directory });
    t.teardown(async () => {
      await store.close();
      await rm(directory, { recursive: true });
    });
    const proxy = await startFaultProxy(t, server.port);
    Object.assign(process.env, objectStorageEnvironment(proxy.port));
    const client = objectStorageClient(server.port);
    t.teardown(() => client.destroy());
    let ids = 0;

    async function publish(tenant: string, id: string): Promise<void> {
      const draft = await store.of(tenant).draft(id);
      await draft.write(weights, [WEIGHTS]);
      await draft.write(config, [Buffer.from('{}')]);
      await draft.publish(sampleRecord({ expiresAt: Date.now() + 3_600_000 }));
    }
    const publishing: JobHandler<'generate'> = async ({ tenant, id, payload }) => {
      for (const adapter of payload.adapterIds) await publish(tenant, adapter);
      return someResult(id);
    };

    async function open(t: Test, options: OpenOptions = {}) {
      const { handler = publishing, hints = true, copyGiveUpMs } = options;
      const { allowed = `s3://${TEST_BUCKET}/copies` } = options;
      const prefix = `copies/t${ids}`;
      const id = `c${ids++}`;
      proxy.fault = () => false;
      const metrics = createMetrics();
      const queue = await openDefaultQueue({ backend, maxWaiting: 1000, logger });
      const present = (record: GenerateRecord, copy?: Copy) => ({
        id: record.id,
        status: record.status,
        destination: copy ?? copyToCome(record),
      });
      const webhooks = await openTestWebhooks({
        backend,
        queue,
        logger,
        present,
        ...(copyGiveUpMs !== undefined && { copyGiveUpMs }),
      });
      const destinations = openDestinations({ allowed, forcePathStyle: true });
      const workers = await createWorkers({
        backend,
        handlers: {
          ...idleHandlers,
          generate: handler,
          webhook: webhooks.handlers.webhook,
          copy: createCopyHandler({ store, destinations, metrics, logger }),
        },
        concurrency: 4,
        ...(hints && { onChange: webhooks.notifier.onChange }),
        logger,
        ...QUICK,
      });
      t.teardown(async () => {
        await workers.close({ drainMs: 0 });
        await webhooks.close();
        await destinations.close();
        await queue.close();
      });
      const find = async () => (await queue.find(id))!;
      const entry = async () => ({
        tenant: DEFAULT_TENANT,
        id,
        acceptedAt: (await find()).payload.acceptedAt,
      });
      const copy = async () => (await webhooks.copies.find(await find()))!;
      const bullOf = async () => {
        const { payload } = await find();
        const bull = backend.queue('copy');
        const queueId = toQueueId({ tenant: DEFAULT_TENANT, id: `${id}--${payload.acceptedAt}` });
        return { bull, queueId };
      };
      return {
        id,
        prefix,
        queue,
        webhooks,
        metrics,
        find,
        copy,
        entry,
        async submit(changes: Partial<GeneratePayload> = {}) {
          const payload = somePayload({
            adapterIds: [id],
            destination: { type: 's3', bucket: TEST_BUCKET, prefix },
            ...changes,
          });
          await queue.submit(id, payload, { notify: { of: 'ends', at: firstLook(payload.acceptedAt) } });
        },
        ended: () => until(async () => (await copy()).state !== 'pending', 30_000),
        /** Waits until nothing is to follow on the job any more. */
        over: async () => {
          const noted = await entry();
          await until(async () => !(await index.hasNotice(noted)), 30_000);
        },
        /** Makes the next attempt at once, and waits for its end. */
        async tryNow() {
          const { bull, queueId } = await bullOf();
          await until(async () => (await bull.getJobState(queueId)) === 'delayed', 30_000);
          const { attempts } = await copy();
          await (await bull.getJob(queueId))!.promote();
          await until(async () => {
            const now = await copy();
            return now.state !== 'pending' || now.attempts > attempts;
          }, 30_000);
          await bull.close();
        },
        jobThere: async () => {
          const { bull, queueId } = await bullOf();
          const there = (await bull.getJob(queueId)) !== undefined;
          await bull.close();
          return there;
        },
        keys: async () => {
          const listed = await client.send(
            new ListObjectsV2Command({ Bucket: TEST_BUCKET, Prefix: `${prefix}/` }),
          );
          return (listed.Contents ?? []).map(({ Key }) => Key!.slice(prefix.length + 1)).sort();
        },
        digest: async (key: string) => {
          const wanted = { Bucket: TEST_BUCKET, Key: `${prefix}/${key}` };
          return sha256(await (await client.send(new GetObjectCommand(wanted))).Body!.transformToByteArray());
        },
      };
    }
    const deny = (status: number, code: string) => {
      proxy.fault = (_incoming, response) => {
        response.writeHead(status, { 'content-type': 'application/xml' });
        response.end(`<Error><Code>${code}</Code></Error>`);
        return true;
      };
    };

    await t.test('all adapters of a job are copied, and that is told after its end', async (t) => {
      const receiver = await startReceiver();
      t.teardown(() => receiver.close());
      const { id, submit, copy, over, keys, digest, metrics } = await open(t);
      const events = ['job.succeeded', 'job.delivered'] as const;
      await submit({
        adapterIds: [`${id}--0`, `${id}--1`],
        webhooks: [{ url: receiver.url, events: [...events] }],
      });
      await over();
      t.match(await copy(), { state: 'delivered', attempts: 1, endedAt: Number });
      t.strictSame(
        await keys(),
        [0, 1].flatMap((at) => [`${id}--${at}/${config}`, `${id}--${at}/${weights}`]),
      );
      t.equal(await digest(`${id}--1/${weights}`), sha256(WEIGHTS));
      t.strictSame(receiver.events(id), [...events]);
      t.match(
        receiver.received.map(({ body }) => JSON.parse(body)),
        [
          { data: { status: 'succeeded', destination: { state: 'pending', attempts: 0 } } },
          { data: { status: 'succeeded', destination: { state: 'delivered', attempts: 1 } } },
        ],
      );
      const { endedAt } = await copy();
      t.equal(JSON.parse(receiver.received[1]!.body).timestamp, new Date(endedAt!).toISOString());
      t.match(await metrics.render(), /loradrop_destination_copies_total\{outcome="delivered",code=""\} 1/);
    });

    await t.test('a destination that denies is asked again, and shows why', async (t) => {
      const { submit, find, copy, entry, tryNow, ended, over, keys } = await open(t);
      deny(403, 'AccessDenied');
      await submit();
      await until(async () => (await copy()).attempts === 1);
      t.match(await copy(), {
        state: 'pending',
        failure: { code: 'destination-denied', detail: /403/ },
        lastAt: Number,
        nextAt: Number,
      });
      const { lastAt, nextAt } = await copy();
      t.ok(nextAt! - lastAt! >= 4000 && nextAt! - lastAt! < 60_000, `${nextAt! - lastAt!} ms`);
      await tryNow();
      t.match(await copy(), { state: 'pending', attempts: 2 });
      t.equal((await find()).status, 'succeeded');
      t.equal(await index.hasNotice(await entry()), true);
      proxy.fault = () => false;
      await tryNow();
      await ended();
      t.match(await copy(), { state: 'delivered', attempts: 3, failure: undefined, nextAt: undefined });
      t.equal((await keys()).length, 2);
      await over();
    });

    await t.test('a destination that is away gets its copy once it is back', async (t) => {
      const { submit, copy, tryNow, ended, over, keys } = await open(t);
      await server.kill();
      await submit();
      await until(async () => (await copy()).attempts === 1, 60_000);
      t.match(await copy(), { state: 'pending', failure: { code: 'destination-unavailable' } });
      await server.restart();
      // Of a place that has not answered, further attempts leave it alone for a while.
      await until(async () => {
        await tryNow();
        return (await copy()).state === 'delivered';
      }, 60_000);
      await ended();
      t.equal((await keys()).length, 2);
      await over();
    });

    await t.test('a copy is given up when its time is over; the job stays succeeded', async (t) => {
      const receiver = await startReceiver();
      t.teardown(() => receiver.close());
      const { id, submit, find, copy, over, metrics } = await open(t, { copyGiveUpMs: 1000 });
      deny(403, 'AccessDenied');
      await submit({ webhooks: [{ url: receiver.url, events: ['job.succeeded', 'job.delivered'] }] });
      await over();
      t.match(await copy(), { state: 'failed', attempts: 1, failure: { code: 'destination-denied' } });
      t.equal((await find()).status, 'succeeded');
      t.strictSame(receiver.events(id), ['job.succeeded']);
      t.match(
        await metrics.render(),
        /loradrop_destination_copies_total\{outcome="failed",code="destination-denied"\} 1/,
      );
    });

    await t.test('an adapter that was deleted ends its copy at once', async (t) => {
      const gone = await open(t, { handler: async ({ id }) => someResult(id) });
      await gone.submit();
      await gone.over();
      t.match(await gone.copy(), { state: 'failed', attempts: 1, failure: { code: 'adapter-not-found' } });
    });

    await t.test('a worker whose operator does not allow the place any more tries again', async (t) => {
      const { submit, copy } = await open(t, { allowed: 's3://elsewhere' });
      await submit();
      await until(async () => (await copy()).attempts === 1);
      t.match(await copy(), { state: 'pending', failure: { code: 'destination-not-allowed' } });
    });

    await t.test('a job that fails has nothing to copy', async (t) => {
      const failing = await open(t, {
        handler: async () => {
          throw loraErrors.notFinite('NaN');
        },
      });
      await failing.submit();
      await failing.over();
      t.match(await failing.copy(), {
        state: 'failed',
        attempts: 0,
        failure: { code: 'adapter-not-finite' },
      });
      t.equal(await failing.jobThere(), false);
    });

    await t.test('hints that never came are made up for by the clock', async (t) => {
      const { submit, find, copy, entry, ended, webhooks, jobThere } = await open(t, { hints: false });
      await submit();
      await until(async () => (await find()).status === 'succeeded');
      t.equal(await jobThere(), false);
      t.match(await copy(), { state: 'pending', attempts: 0 });
      const noted = await entry();
      await index.postponeNotice(noted, 1);
      await webhooks.notifier.sweep(byClock());
      await ended();
      t.match(await copy(), { state: 'delivered' });
      t.equal(await index.hasNotice(noted), true, 'nobody heard of its end');
      await index.postponeNotice(noted, 1);
      await webhooks.notifier.sweep(byClock());
      t.equal(await index.hasNotice(noted), false);
    });

    await t.test(
      'a record outlives its retention while its copy is to come, and takes it along',
      async (t) => {
        const { id, submit, queue, webhooks, copy, tryNow, over, jobThere } = await open(t);
        deny(403, 'AccessDenied');
        await submit({ retentionSeconds: 1 });
        await until(async () => (await copy()).attempts === 1);
        const expire = (now: number) =>
          createExpireHandler({
            queue,
            deliveries: webhooks.deliveries,
            copies: webhooks.copies,
            deployments: noDeployments,
            validations: noValidations,
            files: noFiles,
            store: { expired: async () => [], of: () => ({}) as never },
            logger,
            now: () => now,
          })(byClock());
        await expire(Date.now() + 10_000);
        t.ok(await queue.find(id));
        proxy.fault = () => false;
        await tryNow();
        await over();
        t.equal(await jobThere(), true);
        const { payload } = (await queue.find(id))!;
        await expire(Date.now() + 3_600_000);
        t.equal(await queue.find(id), undefined);
        const bull = backend.queue('copy');
        const queueId = toQueueId({ tenant: DEFAULT_TENANT, id: `${id}--${payload.acceptedAt}` });
        t.equal(await bull.getJob(queueId), undefined);
        await bull.close();
      },
    );
  });
}
