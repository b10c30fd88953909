/** Processes that end at any moment: every event of every accepted job is delivered all the same. */
import { type Test, test } from 'tap';
import { firstLook } from '../../src/jobs/notify.ts';
import { openQueueBackend } from '../../src/queue/open-queue-backend.ts';
import { logger, openDefaultQueue, somePayload } from '../helpers/generate-job.ts';
import { until } from '../helpers/loradrop-process.ts';
import { startRedis } from '../helpers/redis.ts';
import { startReporting } from '../helpers/reporting-process.ts';
import { eventsOnce, type Receiver, startReceiver } from '../helpers/webhook-receiver.ts';
import type { WebhookProcessReport, WebhookProcessTask } from './fixtures/webhook-process.ts';

/** Places tried in one run of the suite, spread over all there are. `WEBHOOK_KILL_POINTS` sets another number. */
const POINTS = Number(process.env['WEBHOOK_KILL_POINTS'] ?? 8);

/** A process takes a second or two, and ten where other tests share the machine. */
const TIMEOUT_MS = Math.max(900_000, Math.min(POINTS, 150) * 30_000);

const start = (t: Test, task: WebhookProcessTask) =>
  startReporting<WebhookProcessReport>(t, 'webhook-process.ts', { task });

async function receiverOf(t: Test): Promise<Receiver> {
  const receiver = await startReceiver();
  t.teardown(() => receiver.close());
  return receiver;
}

const BOTH = ['job.queued', 'job.succeeded'];

for (const [name, open] of [
  ['Redis', async (t: Test) => (await startRedis(t))?.url],
  ['PGlite', async () => ''],
] as const) {
  test(`killed at any call of ${name}, a process loses no webhook`, { timeout: TIMEOUT_MS }, async (t) => {
    const url = await open(t);
    if (url === undefined) return;
    const task: WebhookProcessTask = { dataDirectory: t.testdir({}), ...(url && { url }) };
    const receiver = await receiverOf(t);
    const whole = start(t, { ...task, id: 'whole', receiver: receiver.url });
    const done = await whole.told('told');
    const calls = done && 'calls' in done ? done.calls : 0;
    t.ok(calls > 20, `${calls} calls from acceptance to the last delivery`);
    await whole.kill();

    const step = Math.max(1, Math.floor(calls / POINTS));
    const accepted: string[] = [];
    let killed = 0;
    let tried = 0;
    for (let killAt = 1; killAt <= calls; killAt += step) {
      const id = `killed-${killAt}`;
      tried += 1;
      const doomed = start(t, { ...task, id, receiver: receiver.url, killAt });
      if (!(await doomed.told('told'))) killed += 1;
      if (doomed.find('accepted')) accepted.push(id);
      await doomed.kill();
    }
    t.ok(killed > tried / 2, `${killed} of ${tried} processes ended on the way`);
    t.ok(accepted.length > 0);

    const healer = start(t, task);
    await healer.told('ready');
    for (const id of accepted) {
      await until(async () => eventsOnce(receiver, id).length >= BOTH.length, 120_000);
      t.strictSame(eventsOnce(receiver, id), BOTH, `${id} is told whole and in order`);
    }
    await healer.kill();
    // What was not acknowledged may have been accepted all the same; then it is told of as well. Its embedded queue has one
    // process at a time, so those jobs are looked up first and told by one more.
    const jobs = async () => {
      const backend = await openQueueBackend({ ...task, logger });
      const queue = await openDefaultQueue({ backend, maxWaiting: 1, logger });
      const page = await queue.list({ limit: 100 });
      await queue.close();
      await backend.close();
      return page.jobs;
    };
    const kept = (await jobs()).map(({ id }) => id);
    const last = start(t, task);
    await last.told('ready');
    for (const id of kept) {
      await until(async () => eventsOnce(receiver, id).length >= BOTH.length, 120_000);
      t.strictSame(eventsOnce(receiver, id), BOTH, `${id} is in the queue`);
    }
    await last.kill();
    for (const { id, status } of await jobs()) t.equal(status, 'succeeded', id);
  });
}

test('a process is killed while its receiver has not answered yet: the message comes again', async (t) => {
  const server = await startRedis(t);
  if (!server) return;
  const task = { dataDirectory: '', url: server.url };
  const receiver = await receiverOf(t);
  receiver.behave((nth) => (nth === 1 ? undefined : 200));
  const doomed = start(t, { ...task, id: 'unanswered', receiver: receiver.url });
  await receiver.waitFor(1);
  t.equal(await doomed.kill(), 'SIGKILL');
  const other = start(t, task);
  await receiver.waitFor(3);
  const [first, second] = receiver.received;
  t.strictSame([second!.body, second!.headers['webhook-id']], [first!.body, first!.headers['webhook-id']]);
  t.strictSame(receiver.events('unanswered'), ['job.queued', ...BOTH]);
  await other.kill();
});

test('a job that ends every worker is told of as failed, though nothing of ours ran at its end', async (t) => {
  const server = await startRedis(t);
  if (!server) return;
  const receiver = await receiverOf(t);
  const backend = await openQueueBackend({ url: server.url, dataDirectory: '', logger });
  const queue = await openDefaultQueue({ backend, maxWaiting: 10, logger });
  t.teardown(async () => {
    await queue.close();
    await backend.close();
  });
  const payload = somePayload({ webhooks: [{ url: receiver.url, events: ['job.failed'] }] });
  await queue.submit('deadly', payload, { notify: { of: 'ends', at: firstLook(payload.acceptedAt) } });
  const task = { dataDirectory: '', url: server.url, deadly: true };
  for (let worker = 0; worker < 2; worker++) t.equal(await start(t, task).ended, 'SIGKILL');
  const last = start(t, task);
  await receiver.waitFor(1, 60_000);
  t.match(JSON.parse(receiver.received[0]!.body), {
    type: 'job.failed',
    data: { id: 'deadly', status: 'failed' },
  });
  await last.kill();
});
