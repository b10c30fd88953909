/** Processes that end at any moment: the adapter of every accepted job reaches its destination all the same, whole. */
import { join } from 'node:path';
import { GetObjectCommand, ListMultipartUploadsCommand, ListObjectsV2Command } from '@aws-sdk/client-s3';
import { type Test, test } from 'tap';
import { sha256 } from '../../src/base/digest.ts';
import { openQueueBackend } from '../../src/queue/open-queue-backend.ts';
import { logger, openDefaultQueue } from '../helpers/generate-job.ts';
import { until } from '../helpers/loradrop-process.ts';
import {
  objectStorageClient,
  objectStorageEnvironment,
  startVersitygw,
  TEST_BUCKET,
} from '../helpers/object-storage.ts';
import { startReporting } from '../helpers/reporting-process.ts';
import { eventsOnce, startReceiver } from '../helpers/webhook-receiver.ts';
import type { CopyProcessReport, CopyProcessTask } from '../jobs/fixtures/copy-process.ts';
import { patternBytes } from './store-samples.ts';

/** Places tried in one run of the suite, spread over all there are. `COPY_KILL_POINTS` sets another number. */
const POINTS = Number(process.env['COPY_KILL_POINTS'] ?? 6);
/** As in the process of the fixture. */
const WEIGHTS = sha256(patternBytes((5 << 20) + 1000));
const EVENTS = ['job.succeeded', 'job.delivered'];
const FILES = ['adapter_config.json', 'adapter_model.safetensors'];

const start = (t: Test, task: CopyProcessTask, environment: Record<string, string>) =>
  startReporting<CopyProcessReport>(t, 'copy-process.ts', { task, environment });

/** Runs the suite against one backend; `open` starts it and answers its address, an empty one for the embedded queue. */
export function copySurvivalSuite(name: string, open: (t: Test) => Promise<string | undefined>): void {
  test(`killed at any call of ${name} or of the destination, a process loses no copy`, {
    timeout: 900_000,
  }, async (t) => {
    const url = await open(t);
    const storage = url === undefined ? undefined : await startVersitygw(t);
    if (url === undefined || !storage) return;
    const environment = objectStorageEnvironment(storage.port);
    const { data, store } = { data: join(t.testdirName, 'data'), store: join(t.testdirName, 'store') };
    t.testdir({ data: {}, store: {} });
    const task: CopyProcessTask = {
      dataDirectory: data,
      storeDirectory: store,
      bucket: TEST_BUCKET,
      ...(url && { url }),
    };
    const client = objectStorageClient(storage.port);
    t.teardown(() => client.destroy());
    const keysOf = async (id: string) => {
      const { Contents = [] } = await client.send(
        new ListObjectsV2Command({ Bucket: TEST_BUCKET, Prefix: `copies/${id}/` }),
      );
      return Contents.map(({ Key }) => Key!.slice(`copies/${id}/`.length)).sort();
    };
    const digestOf = async (id: string) => {
      const wanted = { Bucket: TEST_BUCKET, Key: `copies/${id}/adapter_model.safetensors` };
      return sha256(await (await client.send(new GetObjectCommand(wanted))).Body!.transformToByteArray());
    };
    const receiver = await startReceiver();
    t.teardown(() => receiver.close());

    const whole = start(t, { ...task, id: 'whole', receiver: receiver.url }, environment);
    const done = await whole.told('done');
    const { calls, kinds } = done && 'calls' in done ? done : { calls: 0, kinds: [] };
    t.ok(calls > 30, `${calls} calls from acceptance to the last message`);
    t.strictSame(
      kinds.filter((kind) => !/^(Head|List)/.test(kind)),
      [
        'CreateMultipartUploadCommand',
        'UploadPartCommand',
        'UploadPartCommand',
        'CompleteMultipartUploadCommand',
        'PutObjectCommand',
      ],
    );
    await whole.kill();

    const step = Math.max(1, Math.floor(calls / POINTS));
    const accepted: string[] = [];
    let killed = 0;
    for (let killAt = 1; killAt <= calls; killAt += step) {
      const id = `killed-${killAt}`;
      const doomed = start(t, { ...task, id, receiver: receiver.url, killAt }, environment);
      if (!(await doomed.told('done'))) killed += 1;
      if (doomed.find('accepted')) accepted.push(id);
      await doomed.kill();
      const keys = await keysOf(id);
      if (keys.includes('adapter_config.json')) t.strictSame(keys, FILES, `${id}: never half`);
    }
    t.ok(killed > Math.min(POINTS, calls) / 2, `${killed} processes ended on the way`);
    t.ok(accepted.length > 0);

    const healer = start(t, task, environment);
    await healer.told('ready');
    for (const id of accepted) {
      await until(async () => eventsOnce(receiver, id).length >= EVENTS.length, 120_000);
    }
    await healer.kill();
    // What was not acknowledged may have been accepted all the same; then it is copied as well.
    const jobs = async () => {
      const backend = await openQueueBackend({ dataDirectory: data, ...(url && { url }), logger });
      const queue = await openDefaultQueue({ backend, maxWaiting: 1, logger });
      const page = await queue.list({ limit: 100 });
      await queue.close();
      await backend.close();
      return page.jobs;
    };
    const kept = (await jobs()).map(({ id }) => id);
    for (const id of accepted) t.ok(kept.includes(id));
    const last = start(t, task, environment);
    await last.told('ready');
    for (const id of kept) {
      await until(async () => eventsOnce(receiver, id).length >= EVENTS.length, 120_000);
      t.strictSame(eventsOnce(receiver, id), EVENTS, `${id} is told whole and in order`);
      t.strictSame(await keysOf(id), FILES, `${id} is there`);
      t.equal(await digestOf(id), WEIGHTS, `${id} has its bytes`);
    }
    await last.kill();
    const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand({ Bucket: TEST_BUCKET }));
    t.strictSame(Uploads, [], 'no upload is left');
    t.comment(`${killed} processes killed, ${kept.length} jobs, all of them copied`);
  });
}
