/** What webhooks must do over every queue backend. Called once a backend, against a real one and real receivers. */
import { Webhook as StandardWebhook } from 'standardwebhooks';
import { Webhook as SvixWebhook } from 'svix';
import { type Test, test } from 'tap';
import { DEFAULT_TENANT } from '../../src/base/ids.ts';
import type { GeneratePayload } from '../../src/jobs/catalog.ts';
import { createExpireHandler } from '../../src/jobs/expire.ts';
import type { GenerateRecord } from '../../src/jobs/generate-queue.ts';
import { createWorkers, type JobHandler } from '../../src/jobs/workers.ts';
import { loraErrors } from '../../src/lora/errors.ts';
import { createMetrics } from '../../src/observability/metrics.ts';
import { toQueueId } from '../../src/queue/stored-job.ts';
import type { WebhookEvent } from '../../src/webhooks/events.ts';
import { newWebhookSecret } from '../../src/webhooks/sign.ts';
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
import { openTestWebhooks, type TestWebhooksOptions } from '../helpers/open-test-webhooks.ts';
import { type Behaviour, SECRET, startReceiver } from '../helpers/webhook-receiver.ts';
import type { QueueSuiteBackend } from './queue.ts';

const FINAL: readonly WebhookEvent[] = ['job.succeeded', 'job.failed', 'job.canceled'];

/** A payload whose job is told of. */
const toldPayload = (url: string, events = FINAL, changes: Partial<GeneratePayload> = {}) =>
  somePayload({ webhooks: [{ url, events: [...events] }], ...changes });

/** A run by the clock. */
const byClock = () => ({
  tenant: DEFAULT_TENANT,
  id: 'clock',
  payload: {},
  attempt: 1,
  signal: new AbortController().signal,
  isOver: async () => false,
  report() {},
});

type OpenOptions = Partial<TestWebhooksOptions> & {
  readonly handler?: JobHandler<'generate'>;
  /** False: nobody hears of what the workers do. */
  readonly hints?: boolean;
};

/** Runs the suite against one backend. */
export function webhookSuite(name: string, start: (t: Test) => Promise<QueueSuiteBackend | undefined>): void {
  test(`webhooks on ${name}`, { timeout: 180_000 }, async (t) => {
    const suite = await start(t);
    if (!suite) return;
    const backend = await suite.connect();
    const index = backend.index('generate');
    let ids = 0;

    /** A queue, its workers and webhooks; each test has ids of its own. The clock runs where a test lets it. */
    async function open(t: Test, options: OpenOptions = {}) {
      const { handler = async ({ id }) => someResult(id), hints = true, ...more } = options;
      const queue = await openDefaultQueue({ backend, maxWaiting: 1000, logger });
      const webhooks = await openTestWebhooks({ backend, queue, logger, ...more });
      const workers = await createWorkers({
        backend,
        handlers: { ...idleHandlers, generate: handler, webhook: webhooks.handlers.webhook },
        concurrency: 4,
        concurrencyOf: { webhook: 8 },
        ...(hints && { onChange: webhooks.notifier.onChange }),
        logger,
        ...QUICK,
      });
      t.teardown(async () => {
        await workers.close({ drainMs: 0 });
        await webhooks.close();
        await queue.close();
      });
      const id = `w${ids++}`;
      const find = async (which = id) => (await queue.find(which))!;
      const submit = async (payload: GeneratePayload, which = id): Promise<GenerateRecord> => {
        const early = payload.webhooks!.some(({ events }) => events.some((event) => !FINAL.includes(event)));
        const { record } = await queue.submit(which, payload, {
          notify: { of: early ? 'progress' : 'ends', at: payload.acceptedAt },
        });
        if (early) webhooks.notifier.hint(record);
        return record;
      };
      return {
        queue,
        webhooks,
        id,
        find,
        submit,
        deliveries: async (which = id) => webhooks.deliveries.list(await find(which), 0),
        /** Waits until nobody is to be told of the job any more. */
        told: async (which = id) => {
          const { tenant, payload } = await find(which);
          const entry = { tenant, id: which, acceptedAt: payload.acceptedAt };
          await until(async () => !(await index.hasNotice(entry)), 30_000);
        },
        /** Makes the next attempt at the first delivery now. */
        async tryNow() {
          const { payload } = await find();
          const delivery = { tenant: DEFAULT_TENANT, id: `${id}--${payload.acceptedAt}-0-0` };
          const bull = backend.queue('webhook');
          await until(async () => (await bull.getJobState(toQueueId(delivery))) === 'delayed');
          await bull.close();
          await webhooks.deliveries.resume([delivery]);
        },
      };
    }
    async function receiverOf(t: Test, behaviour?: Behaviour) {
      const receiver = await startReceiver(behaviour);
      t.teardown(() => receiver.close());
      return receiver;
    }

    await t.test('how a job ended is told, signed, once', async (t) => {
      const receiver = await receiverOf(t);
      const { id, submit, deliveries, told } = await open(t);
      await submit(toldPayload(receiver.url));
      await receiver.waitFor(1);
      await told();
      t.strictSame(receiver.events(id), ['job.succeeded']);
      const [message] = receiver.received;
      const headers = message!.headers as Record<string, string>;
      for (const Verifier of [StandardWebhook, SvixWebhook]) {
        t.match(new Verifier(SECRET).verify(message!.body, headers), {
          type: 'job.succeeded',
          data: { id, status: 'succeeded' },
        });
      }
      t.match(await deliveries(), [
        { number: 0, state: 'delivered', attempts: { attempts: 1, status: 204 } },
      ]);
    });

    await t.test('events come in the order of a job’s life', async (t) => {
      const receiver = await receiverOf(t);
      const progressed = (times: number) =>
        until(async () => receiver.received.filter(({ event }) => event === 'job.progress').length === times);
      const { id, submit, told, webhooks } = await open(t, {
        handler: async (context) => {
          const at = (fraction: number) => context.report({ stage: 'decoding', fraction, adapter: 0 });
          at(0.2);
          await progressed(1);
          at(0.25);
          at(0.5);
          // A look right after another one is left out, so this one is asked for.
          await until(async () => {
            webhooks.notifier.hint(context);
            return receiver.received.filter(({ event }) => event === 'job.progress').length === 2;
          });
          return someResult(context.id);
        },
      });
      await submit(toldPayload(receiver.url, ['job.queued', 'job.started', 'job.progress', 'job.succeeded']));
      await told();
      t.strictSame(receiver.events(id), [
        'job.queued',
        'job.started',
        'job.progress',
        'job.progress',
        'job.succeeded',
      ]);
      const statuses = receiver.received.map(({ body }) => JSON.parse(body).data.status);
      t.strictSame(statuses, ['queued', 'processing', 'processing', 'processing', 'succeeded']);
      t.equal(new Set(receiver.received.map(({ headers }) => headers['webhook-id'])).size, 5);
    });

    await t.test('failed and canceled jobs are told of too', async (t) => {
      const receiver = await receiverOf(t);
      const { queue, find, webhooks, submit, told } = await open(t, {
        handler: async ({ id, signal }) => {
          if (id.startsWith('fails')) throw loraErrors.notFinite('NaN');
          await until(async () => signal.aborted);
          throw signal.reason;
        },
      });
      await submit(toldPayload(receiver.url), 'fails');
      await submit(toldPayload(receiver.url), 'canceled');
      await until(async () => (await find('canceled')).status === 'processing');
      webhooks.notifier.hint(await queue.cancel('canceled'));
      await told('fails');
      await told('canceled');
      t.strictSame(receiver.events('fails'), ['job.failed']);
      t.strictSame(receiver.events('canceled'), ['job.canceled']);
    });

    await t.test('a failure is retried with the same message, and the next event waits', async (t) => {
      const receiver = await receiverOf(t, (nth) => (nth < 3 ? 500 : 200));
      const { id, submit, deliveries, told, tryNow } = await open(t);
      await submit(toldPayload(receiver.url, ['job.queued', 'job.succeeded']));
      for (let made = 1; made < 3; made++) {
        await until(async () => (await deliveries())[0]?.attempts.attempts === made);
        const [delivery] = await deliveries();
        t.match(delivery, { state: 'pending', attempts: { status: 500, nextAt: Number } });
        const waitMs = delivery!.attempts.nextAt! - delivery!.attempts.lastAt!;
        t.ok(waitMs >= (made === 1 ? 4000 : 24_000), `${waitMs} ms until the next attempt`);
        await tryNow();
        await receiver.waitFor(made + 1);
      }
      await told();
      t.strictSame(receiver.events(id), ['job.queued', 'job.queued', 'job.queued', 'job.succeeded']);
      const [first, second, third, last] = receiver.received.map(({ headers, body }) => ({
        id: headers['webhook-id'],
        body,
      }));
      t.strictSame(second, first);
      t.strictSame(third, first);
      t.not(last!.id, first!.id);
      t.match(await deliveries(), [
        { state: 'delivered', attempts: { attempts: 3 } },
        { state: 'delivered', attempts: { attempts: 1 } },
      ]);
    });

    await t.test('Retry-After is honoured', async (t) => {
      const receiver = await receiverOf(t, (_nth, response) => {
        response.writeHead(503, { 'retry-after': '600' }).end();
        return undefined;
      });
      const { submit, deliveries } = await open(t);
      await submit(toldPayload(receiver.url));
      await until(async () => (await deliveries())[0]?.attempts.nextAt !== undefined);
      const { nextAt, lastAt } = (await deliveries())[0]!.attempts;
      t.ok(nextAt! - lastAt! >= 600_000);
    });

    await t.test('410 ends a delivery and those after it; a replay asks once more', async (t) => {
      const receiver = await receiverOf(t, () => 410);
      const { id, find, webhooks, submit, deliveries, told } = await open(t);
      await submit(toldPayload(receiver.url, ['job.queued', 'job.succeeded']));
      await until(async () => (await find()).status === 'succeeded');
      await told();
      t.strictSame(receiver.events(id), ['job.queued']);
      t.match(await deliveries(), [{ state: 'disabled', attempts: { status: 410 } }]);
      receiver.behave(() => 200);
      const record = await find();
      t.match(await webhooks.deliveries.replay(record, 0, 0), { state: 'pending' });
      await receiver.waitFor(2);
      t.equal(receiver.received[1]!.headers['webhook-id'], receiver.received[0]!.headers['webhook-id']);
      await until(async () => (await deliveries())[0]?.state === 'delivered');
      t.match(await deliveries(), [{ attempts: { attempts: 2, status: 200 } }]);
      await t.rejects(webhooks.deliveries.replay(record, 0, 7), { code: 'delivery-not-found' });
      await t.rejects(webhooks.deliveries.replay(record, -1, 0), { code: 'delivery-not-found' });
      receiver.behave(() => 500);
      await webhooks.deliveries.replay(record, 0, 0);
      await t.rejects(webhooks.deliveries.replay(record, 0, 0), { code: 'delivery-pending' });
    });

    await t.test('a delivery is given up when its time is over, and the next event is sent', async (t) => {
      const receiver = await receiverOf(t, (_nth, _response, { event }) =>
        event === 'job.queued' ? 500 : 200,
      );
      const metrics = createMetrics();
      const { id, submit, deliveries, told } = await open(t, { giveUpMs: 1000, metrics });
      await submit(toldPayload(receiver.url, ['job.queued', 'job.succeeded']));
      await told();
      t.strictSame(receiver.events(id), ['job.queued', 'job.succeeded']);
      t.match(await deliveries(), [{ state: 'failed', attempts: { status: 500 } }, { state: 'delivered' }]);
      const shown = await metrics.render();
      t.match(shown, /loradrop_webhook_deliveries_total\{outcome="gave-up",by="request"\} [1-9]/);
      t.match(shown, /loradrop_webhook_deliveries_total\{outcome="delivered",by="request"\} 1/);
    });

    await t.test('without a secret nothing is sent, and with two there are two signatures', async (t) => {
      const receiver = await receiverOf(t);
      const secrets: string[] = [];
      const { find, webhooks, submit, deliveries, told } = await open(t, {
        secrets: { of: () => secrets },
        giveUpMs: 1000,
      });
      await submit(toldPayload(receiver.url));
      await told();
      t.match(await deliveries(), [{ state: 'failed', attempts: { failure: 'secret-missing' } }]);
      t.equal(receiver.received.length, 0);
      secrets.push(newWebhookSecret(), newWebhookSecret());
      await webhooks.deliveries.replay(await find(), 0, 0);
      await receiver.waitFor(1);
      const { body, headers } = receiver.received[0]!;
      for (const secret of secrets) {
        t.ok(new StandardWebhook(secret).verify(body, headers as Record<string, string>));
      }
    });

    await t.test('the operator’s receiver is told as well, each by itself', async (t) => {
      const [own, operators] = [await receiverOf(t, () => 500), await receiverOf(t)];
      const asked = new Set<string>();
      const { id, submit } = await open(t, {
        secrets: {
          of(owner) {
            asked.add(owner);
            return [SECRET];
          },
        },
      });
      const payload = toldPayload(own.url);
      payload.webhooks!.push({ url: operators.url, events: ['job.succeeded'], operator: true });
      await submit(payload);
      await operators.waitFor(1);
      await own.waitFor(1);
      t.strictSame(operators.events(id), ['job.succeeded']);
      t.strictSame([...asked].sort(), ['*', DEFAULT_TENANT]);
    });

    await t.test('hints that never came are made up for by the clock', async (t) => {
      const receiver = await receiverOf(t);
      const { id, find, submit, webhooks, told } = await open(t, { hints: false });
      await submit(toldPayload(receiver.url));
      await until(async () => (await find()).status === 'succeeded');
      t.equal(receiver.received.length, 0);
      await webhooks.notifier.sweep(byClock());
      await receiver.waitFor(1);
      t.strictSame(receiver.events(id), ['job.succeeded']);
      // The end of the delivery was not heard of either: the notice is still there, and has nothing left to do.
      const { payload } = await find();
      const entry = { tenant: DEFAULT_TENANT, id, acceptedAt: payload.acceptedAt };
      t.equal(await index.hasNotice(entry), true);
      await until(async () => {
        await index.postponeNotice(entry, 1);
        await webhooks.notifier.sweep(byClock());
        return !(await index.hasNotice(entry));
      });
      await told();
      t.equal(receiver.received.length, 1, 'told once');
    });

    await t.test('a notice without a job is dropped, a job with one outlives its retention', async (t) => {
      const receiver = await receiverOf(t, () => 500);
      const { id, queue, find, webhooks, submit, deliveries, tryNow, told } = await open(t);
      const ghost = { tenant: DEFAULT_TENANT, id: 'ghost', acceptedAt: Date.now() - 3_600_000 };
      await index.add(ghost, { expiresAt: 1, priority: 5, notifyAt: 1 });
      await webhooks.notifier.sweep(byClock());
      t.equal(await index.hasNotice(ghost), false);

      await submit(toldPayload(receiver.url, FINAL, { retentionSeconds: 1 }));
      await until(async () => (await deliveries())[0]?.attempts.attempts === 1);
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
      t.ok(await queue.find(id), 'it is still to be told');
      receiver.behave(() => 200);
      await tryNow();
      await told();
      const record = await find();
      await expire(Date.now() + 3_600_000);
      t.equal(await queue.find(id), undefined);
      t.strictSame(await webhooks.deliveries.list(record, 0), [], 'its deliveries go with it');
    });
  });
}
