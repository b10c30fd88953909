/** What every queue backend must do. Called once a backend, against a real one. */
import { type Test, test } from 'tap';
import { DEFAULT_TENANT, newId } from '../../src/base/ids.ts';
import type { GeneratePayload } from '../../src/jobs/catalog.ts';
import { jobErrors } from '../../src/jobs/errors.ts';
import { createExpireHandler } from '../../src/jobs/expire.ts';
import type { GenerateRecord } from '../../src/jobs/generate-queue.ts';
import { createWorkers, type JobHandler, type WorkersOptions } from '../../src/jobs/workers.ts';
import type { QueueBackend } from '../../src/queue/backend.ts';
import { queueErrors } from '../../src/queue/errors.ts';
import { toQueueId } from '../../src/queue/stored-job.ts';
import { openLocalStore } from '../../src/store/local.ts';
import {
  type DefaultQueue,
  idleHandlers,
  logger,
  noCopies,
  noDeliveries,
  noDeployments,
  noFiles,
  noValidations,
  openDefaultQueue,
  QUICK,
  somePayload,
  someResult,
  watchUntil,
} from '../helpers/generate-job.ts';
import { until } from '../helpers/loradrop-process.ts';

/** A backend under test. */
export type QueueSuiteBackend = {
  /** A connection as another process would have one; the embedded queue has one connection for all. */
  connect(): Promise<QueueBackend>;
};

const ended = (queue: DefaultQueue, id: string) =>
  watchUntil(queue, id, ({ status }) => status !== 'queued' && status !== 'processing');

/** A handler that stays in the job until it is told to go on, and lets go when its signal aborts. */
function gate() {
  const starts: string[] = [];
  const reasons: unknown[] = [];
  let open = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  const handler: JobHandler<'generate'> = async ({ id, signal }) => {
    starts.push(id);
    await Promise.race([
      opened,
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => {
          reasons.push(signal.reason);
          reject(signal.reason);
        });
      }),
    ]);
    return someResult(id);
  };
  return { handler, starts, reasons, open };
}

/** Runs the suite against one backend. */
export function queueSuite(name: string, start: (t: Test) => Promise<QueueSuiteBackend | undefined>): void {
  test(`queue on ${name}`, { timeout: 120_000 }, async (t) => {
    const suite = await start(t);
    if (!suite) return;
    const main = await suite.connect();

    /** Leaves no job of an earlier test behind. */
    async function clear(): Promise<void> {
      const [bull, index] = [main.queue('generate'), main.index('generate')];
      await bull.obliterate({ force: true });
      for (const entry of await index.due(Number.MAX_SAFE_INTEGER, 10_000)) await index.remove(entry);
      await bull.close();
    }
    async function openQueue(
      t: Test,
      options: Partial<Parameters<typeof openDefaultQueue>[0]> = {},
    ): Promise<DefaultQueue> {
      const queue = await openDefaultQueue({ backend: main, maxWaiting: 1000, logger, ...options });
      t.teardown(() => queue.close());
      return queue;
    }
    async function work(t: Test, handler: JobHandler<'generate'>, options: Partial<WorkersOptions> = {}) {
      const workers = await createWorkers({
        backend: main,
        handlers: { generate: handler, ...idleHandlers },
        concurrency: 1,
        logger,
        ...QUICK,
        ...options,
      });
      t.teardown(() => workers.close({ drainMs: 0 }));
      return workers;
    }
    /** A subtest on an empty queue. */
    async function on(title: string, body: (t: Test, queue: DefaultQueue) => Promise<void>): Promise<void> {
      await t.test(title, async (t) => {
        await clear();
        await body(t, await openQueue(t));
      });
    }

    await on('a job is accepted, shown, run and keeps its result', async (t, queue) => {
      const payload = somePayload({ metadata: { a: 'b' }, name: 'n' });
      const { record, created } = await queue.submit('one', payload);
      t.equal(created, true);
      t.strictSame(record.payload, payload);
      t.match(record, { id: 'one', status: 'queued', position: 0, attempts: 0, progress: { sequence: 0 } });
      t.strictSame(await queue.find('one'), record, 'found as accepted');
      t.equal(await queue.find('other'), undefined);
      t.strictSame(await queue.counts(), { waiting: 1, active: 0, delayed: 0 });

      await work(t, async ({ id, payload: seen, attempt, report }) => {
        t.strictSame(seen, payload, 'every character of the prompts reaches the worker');
        t.equal(attempt, 1);
        report({ stage: 'decoding', fraction: 0.5, adapter: 0 });
        return someResult(id);
      });
      const done = await ended(queue, 'one');
      t.match(done, { status: 'succeeded', attempts: 1, progress: { stage: 'done', fraction: 1 } });
      t.strictSame(done.result, someResult('one'));
      t.ok(done.startedAt! <= done.finishedAt!);
      t.notOk('position' in done || 'failure' in done);
      t.strictSame(await queue.find('one'), done);
    });

    await on('ids cannot meet what the backend keeps beside the jobs', async (t, queue) => {
      for (const id of ['meta', 'wait', 'events', 'id', 'active', 'stalled']) {
        t.equal(await queue.find(id), undefined);
        t.match(await queue.submit(id, somePayload()), { created: true, record: { id } });
      }
      t.equal((await queue.counts()).waiting, 6);
    });

    await on('one id stands for one request, however many ask at once', async (t, queue) => {
      const payload = somePayload();
      const answers = await Promise.all(
        Array.from({ length: 20 }, (_, index) =>
          queue.submit('same', { ...payload, acceptedAt: payload.acceptedAt + index }),
        ),
      );
      t.equal(answers.filter(({ created }) => created).length, 1, 'created once');
      const winner = answers.find(({ created }) => created)!.record;
      for (const { record } of answers) t.strictSame(record.payload, winner.payload);
      t.equal((await queue.counts()).waiting, 1);
      t.strictSame(
        (await queue.list({ limit: 10 })).jobs.map(({ id }) => id),
        ['same'],
      );

      await t.rejects(queue.submit('same', somePayload()), { code: 'job-conflict' });
      const rivals = await Promise.allSettled(
        Array.from({ length: 20 }, () => queue.submit('rivals', somePayload())),
      );
      t.equal(rivals.filter(({ status }) => status === 'fulfilled').length, 1, 'one of different ones wins');
      for (const rival of rivals) {
        if (rival.status === 'rejected') t.match(rival.reason, { code: 'job-conflict' });
      }
      await work(t, async ({ id }) => someResult(id));
      await ended(queue, 'same');
      t.match(await queue.submit('same', payload), { created: false, record: { status: 'succeeded' } });
    });

    await on('urgent jobs go first, equal ones in turn, and positions say so', async (t, queue) => {
      const order: string[] = [];
      for (const [id, priority] of [
        ['normal-1', 5],
        ['background', 0],
        ['urgent', 9],
        ['normal-2', 5],
      ] as const) {
        await queue.submit(id, somePayload({ priority }));
      }
      const { record } = await queue.submit('normal-3', somePayload({ priority: 5 }));
      t.equal(record.position, 3, 'behind the urgent and two normal ones');
      const expected = ['urgent', 'normal-1', 'normal-2', 'normal-3', 'background'];
      for (const [position, id] of expected.entries()) {
        t.equal((await queue.find(id))?.position, position, id);
      }
      await work(t, async ({ id }) => {
        order.push(id);
        return someResult(id);
      });
      await ended(queue, 'background');
      t.strictSame(order, expected);
    });

    await on('a queue that is full says so and when to come again', async (t, queue) => {
      const small = await openQueue(t, { maxWaiting: 2 });
      const quick = await work(t, async ({ id }) => someResult(id));
      for (const id of ['done-1', 'done-2', 'done-3']) {
        await small.submit(id, somePayload());
        await ended(queue, id);
      }
      await quick.close({ drainMs: 0 });
      const { handler, open, starts } = gate();
      const workers = await work(t, handler);
      await small.submit('running', somePayload());
      await until(async () => starts.length === 1);
      await small.submit('first', somePayload());
      const second = somePayload();
      await small.submit('second', second);
      await t.rejects(small.submit('third', somePayload()), {
        code: 'queue-full',
        retryAfterSeconds: Number,
      });
      t.match(await small.submit('second', second), { created: false }, 'what was accepted stays accepted');
      await small.cancel('first');
      t.match(await small.submit('third', somePayload()), { created: true }, 'a canceled job takes no place');
      open();
      await workers.close({ drainMs: 1000 });
    });

    await on('lists newest first, by page, status and model', async (t, queue) => {
      const at = Date.now() - 1000;
      // Several of one millisecond, which a cursor must not confuse.
      for (let each = 0; each < 7; each++) {
        const model = each % 2 === 0 ? 'even' : 'odd';
        await queue.submit(`job-${each}`, somePayload({ acceptedAt: at + Math.floor(each / 3), model }));
      }
      const expected = ['job-6', 'job-5', 'job-4', 'job-3', 'job-2', 'job-1', 'job-0'];
      const seen: string[] = [];
      let cursor: string | undefined;
      do {
        const page = await queue.list({ limit: 2, ...(cursor !== undefined && { cursor }) });
        t.ok(page.jobs.length <= 2);
        seen.push(...page.jobs.map(({ id }) => id));
        cursor = page.nextCursor;
        // Newer jobs must not shift the pages that follow.
        await queue.submit(newId('job'), somePayload({ acceptedAt: at + 500 }));
      } while (cursor !== undefined);
      t.strictSame(seen, expected);

      await work(t, async ({ id }) => {
        if (id === 'job-3') throw jobErrors.bundleChanged('for the test');
        return someResult(id);
      });
      for (const id of expected) await ended(queue, id);
      const ids = async (query: object) =>
        (await queue.list({ limit: 20, ...query })).jobs.map(({ id }) => id);
      t.strictSame(await ids({ status: 'failed' }), ['job-3']);
      t.strictSame(await ids({ model: 'odd' }), ['job-5', 'job-3', 'job-1']);
      t.strictSame(await ids({ model: 'odd', status: 'succeeded' }), ['job-5', 'job-1']);
      t.strictSame(await ids({ status: 'canceled' }), []);
      for (const bad of ['', 'x', Buffer.from('1.').toString('base64url')]) {
        await t.rejects(queue.list({ limit: 1, cursor: bad }), { code: 'cursor-invalid' });
      }
    });

    await on('a queued job is canceled at once and never runs', async (t, queue) => {
      await queue.submit('doomed', somePayload());
      const canceled = await queue.cancel('doomed');
      t.match(canceled, { status: 'canceled', attempts: 0, finishedAt: Number });
      t.notOk('startedAt' in canceled);
      t.strictSame(await queue.counts(), { waiting: 0, active: 0, delayed: 0 });
      await t.rejects(queue.cancel('doomed'), { code: 'job-finished' });
      await t.rejects(queue.cancel('unknown'), { code: 'job-not-found' });
      const ran: string[] = [];
      await work(t, async ({ id }) => {
        ran.push(id);
        return someResult(id);
      });
      await queue.submit('next', somePayload());
      await ended(queue, 'next');
      t.strictSame(ran, ['next']);
      const later = await queue.find('doomed');
      t.match(later, { status: 'canceled', attempts: 0, finishedAt: canceled.finishedAt! }, 'and stays so');
      await t.rejects(queue.cancel('next'), { code: 'job-finished' });
    });

    await on('a running job is canceled from another connection', async (t, queue) => {
      const { handler, starts, reasons } = gate();
      await work(t, handler);
      await queue.submit('running', somePayload());
      await until(async () => starts.length === 1);
      const elsewhere = await openQueue(t, { backend: await suite.connect() });
      t.match(await elsewhere.cancel('running'), { status: 'canceled', attempts: 1, startedAt: Number });
      t.match(await queue.find('running'), { status: 'canceled' }, 'canceled while the worker lets go');
      await until(async () => reasons.length === 1);
      t.match(reasons[0], { code: 'canceled' });
      await until(async () => (await queue.counts()).active === 0);
      t.match(await queue.find('running'), { status: 'canceled' });
      t.equal(starts.length, 1, 'it is not tried again');
    });

    await on('a job that ends while it is being canceled has succeeded, and stays so', async (t, queue) => {
      const { handler, starts, open } = gate();
      await work(t, handler);
      await queue.submit('quick', somePayload());
      await until(async () => starts.length === 1);
      const backend = await suite.connect();
      const late = await openQueue(t, {
        backend: {
          ...backend,
          async replaceDataUnlessEnded(...step) {
            open();
            await ended(queue, 'quick');
            return backend.replaceDataUnlessEnded(...step);
          },
        },
      });
      await t.rejects(late.cancel('quick'), { code: 'job-finished', message: 'It is succeeded.' });
      t.match(await queue.find('quick'), { status: 'succeeded', result: someResult('quick') });
    });

    await on('a handler that does not let go does not keep its worker', async (t, queue) => {
      await work(t, ({ id }) => (id === 'stuck' ? new Promise(() => {}) : Promise.resolve(someResult(id))), {
        letGoMs: 100,
      });
      await queue.submit('stuck', somePayload({ deadlineAt: Date.now() + 300 }));
      await queue.submit('next', somePayload());
      t.match(await ended(queue, 'stuck'), { status: 'failed', failure: { code: 'deadline-exceeded' } });
      t.match(await ended(queue, 'next'), { status: 'succeeded' });
    });

    await on('what may pass is tried again, the rest is not', async (t, queue) => {
      const attempts: Record<string, number[]> = {};
      await work(t, async ({ id, attempt }) => {
        attempts[id] = [...(attempts[id] ?? []), attempt];
        if (id === 'final') throw jobErrors.bundleChanged('It is another one.', { fields: [] });
        if (id === 'foreign') throw new Error('ENOENT /secret/path');
        if (attempt < 3) throw queueErrors.unavailable('Not now.');
        return someResult(id);
      });
      await queue.submit('passing', somePayload());
      await queue.submit('final', somePayload());
      const waiting = await watchUntil(queue, 'passing', (r) => r.status === 'queued' && r.attempts > 0);
      t.notOk(
        'failure' in waiting || 'startedAt' in waiting,
        'a job that will be tried again has not failed',
      );
      t.match(await ended(queue, 'final'), {
        status: 'failed',
        attempts: 1,
        failure: { ...jobErrors.bundleChanged.spec, retryable: undefined, detail: 'It is another one.' },
      });
      const passed = await ended(queue, 'passing');
      t.match(passed, { status: 'succeeded', attempts: 3 });
      t.notOk('failure' in passed);
      t.strictSame(attempts, { passing: [1, 2, 3], final: [1] });

      await queue.submit('foreign', somePayload());
      const foreign = await ended(queue, 'foreign');
      t.match(foreign, { status: 'failed', attempts: 4, failure: { code: 'internal' } });
      t.notMatch(JSON.stringify(foreign), /secret/, 'foreign errors do not show');
    });

    await on('a deadline holds while a job runs and while it waits', async (t, queue) => {
      const { handler, reasons, starts } = gate();
      await queue.submit('too-late', somePayload({ deadlineAt: Date.now() - 1 }));
      await queue.submit('too-long', somePayload({ deadlineAt: Date.now() + 2000 }));
      await work(t, handler);
      t.match(await ended(queue, 'too-late'), { status: 'failed', failure: { code: 'deadline-exceeded' } });
      t.match(await ended(queue, 'too-long'), { status: 'failed', failure: { code: 'deadline-exceeded' } });
      t.strictSame(starts, ['too-long']);
      t.match(reasons, [{ code: 'deadline-exceeded' }]);
    });

    await on('a payload of another version fails with its reason', async (t, queue) => {
      await queue.submit('newer', { ...somePayload(), shape: 'new' } as GeneratePayload);
      await work(t, async ({ id }) => someResult(id));
      t.match(await ended(queue, 'newer'), {
        status: 'failed',
        failure: { code: 'job-payload-invalid', fields: [{ message: String }] },
      });
    });

    await on('progress rises for every watcher, over retries too', async (t, queue) => {
      const elsewhere = await openQueue(t, { backend: await suite.connect() });
      await queue.submit('watched', somePayload());
      const seen: GenerateRecord[][] = [[], [], []];
      const following = [queue, queue, elsewhere].map(async (watching, reader) => {
        for await (const record of watching.watch('watched')) seen[reader]!.push(record);
      });
      await until(async () => seen.every((records) => records.length > 0));
      await work(t, async ({ id, attempt, report }) => {
        for (let step = 1; step <= 1000; step++) {
          report({ stage: 'decoding', fraction: step / 1000, adapter: 0 });
        }
        if (attempt === 1) throw queueErrors.unavailable('Once.');
        return someResult(id);
      });
      await Promise.all(following);
      for (const records of seen) {
        t.equal(records[0]?.status, 'queued');
        t.equal(records.at(-1)?.status, 'succeeded');
        const sequences = records.map(({ progress }) => progress.sequence);
        t.strictSame(
          sequences,
          sequences.toSorted((a, b) => a - b),
          'never falls',
        );
        t.ok(sequences.at(-1)! > 2000, 'counts every report');
        t.ok(records.length < 20, 'but does not write every one');
        const statuses = records.map(({ status }) => status);
        t.equal(statuses.filter((status) => status === 'succeeded').length, 1);
      }
    });

    await on('watching ends with its signal, its queue and its job', async (t, queue) => {
      await t.rejects(queue.watch('unknown')[Symbol.asyncIterator]().next(), { code: 'job-not-found' });
      await queue.submit('waiting', somePayload());
      const leaving = new AbortController();
      const seen: string[] = [];
      await t.rejects(
        (async () => {
          for await (const { status } of queue.watch('waiting', { signal: leaving.signal })) {
            seen.push(status);
            leaving.abort(new Error('gone'));
          }
        })(),
        { message: 'gone' },
      );
      t.strictSame(seen, ['queued']);
      const closing = await openDefaultQueue({ backend: main, maxWaiting: 1, logger });
      const watching = closing.watch('waiting')[Symbol.asyncIterator]();
      await watching.next();
      const next = watching.next();
      await Promise.all([t.rejects(next, { code: 'queue-unavailable' }), closing.close()]);
      await closing.close();
    });

    await on('a worker that stops hands its job to another, at no cost', async (t, queue) => {
      const first = gate();
      const stopping = await work(t, first.handler);
      await queue.submit('handed', somePayload());
      await until(async () => first.starts.length === 1);
      const second = gate();
      await work(t, second.handler, { backend: await suite.connect() });
      await stopping.close({ drainMs: 100 });
      await until(async () => second.starts.length === 1);
      const job = await main.queue('generate').getJob(toQueueId({ tenant: DEFAULT_TENANT, id: 'handed' }));
      t.equal(job?.attemptsMade, 0, 'no attempt was used up');
      second.open();
      t.match(await ended(queue, 'handed'), { status: 'succeeded', attempts: 2 });
    });

    await on('a worker that stops lets a job end that is nearly done', async (t, queue) => {
      const { handler, starts, open } = gate();
      const workers = await work(t, handler);
      await queue.submit('nearly', somePayload());
      await until(async () => starts.length === 1);
      const closed = workers.close({ drainMs: 20_000 });
      open();
      await closed;
      t.match(await queue.find('nearly'), { status: 'succeeded', attempts: 1 });
      await queue.submit('after', somePayload());
      t.equal((await queue.counts()).waiting, 1, 'a stopped worker takes nothing more');
    });

    await on('what has expired is removed, and its id is free again', async (t, queue) => {
      const { handler, starts, open } = gate();
      await queue.submit('short', somePayload({ retentionSeconds: 1 }));
      await queue.submit('dropped', somePayload({ retentionSeconds: 1 }));
      await queue.cancel('dropped');
      await work(t, async ({ id }) => someResult(id)).then((workers) =>
        ended(queue, 'short').then(() => workers.close({ drainMs: 0 })),
      );
      await queue.submit('long', somePayload({ retentionSeconds: 3600 }));
      await queue.submit('held', somePayload({ retentionSeconds: 1, priority: 9 }));
      await work(t, handler);
      await until(async () => starts.includes('held'));

      const all = await openLocalStore({ directory: t.testdir({}) });
      t.teardown(() => all.close());
      const store = all.of(DEFAULT_TENANT);
      for (const [id, expiresAt] of [
        ['gone-1', Date.now() - 20_000],
        ['gone-2', Date.now() - 20_000],
        ['kept', Date.now() + 3_600_000],
      ] as const) {
        const draft = await store.draft(id);
        await draft.write('adapter_config.json', [Buffer.from('{}')]);
        await draft.publish({ createdAt: expiresAt - 1, expiresAt, contentKey: 'c'.repeat(64), info: {} });
      }
      const expire = (now: number) =>
        createExpireHandler({
          queue,
          deliveries: noDeliveries,
          copies: noCopies,
          deployments: noDeployments,
          validations: noValidations,
          files: noFiles,
          store: all,
          logger,
          now: () => now,
        })({
          tenant: DEFAULT_TENANT,
          id: 'x',
          payload: {},
          attempt: 1,
          signal: new AbortController().signal,
          isOver: async () => false,
          report() {},
        });
      t.strictSame(await expire(Date.now() - 10_000), { adapters: 2, files: 0, records: 0 });
      t.equal(await store.find('gone-1'), undefined);
      t.ok(await store.find('kept'));
      t.ok(await queue.find('short'), 'kept until its time');
      // The first look moves each record's time to its end plus its retention, the second removes.
      await expire(Date.now() + 5000);
      await expire(Date.now() + 5000);
      t.equal(await queue.find('short'), undefined);
      t.equal(await queue.find('dropped'), undefined);
      t.match(await queue.find('held'), { status: 'processing' });
      t.match(await queue.find('long'), { status: 'queued' });
      t.strictSame((await queue.list({ limit: 10 })).jobs.map(({ id }) => id).toSorted(), ['held', 'long']);
      t.match(await queue.submit('short', somePayload()), { created: true });
      open();
      t.match(await ended(queue, 'held'), { status: 'succeeded' });
    });

    await on('tenants do not see each other', async (t, queue) => {
      const other = queue.of('team-b');
      const payload = somePayload();
      await queue.submit('same', payload);
      t.equal(await other.find('same'), undefined);
      await t.rejects(other.cancel('same'), { code: 'job-not-found' });
      await t.rejects(other.watch('same')[Symbol.asyncIterator]().next(), { code: 'job-not-found' });
      t.strictSame(await other.list({ limit: 10 }), { jobs: [] });
      t.match(await other.submit('same', somePayload()), { created: true, record: { tenant: 'team-b' } });
      t.match(
        await other.submit('only', somePayload()),
        { record: { position: 1 } },
        'others are not counted',
      );
      t.strictSame(
        (await other.list({ limit: 10 })).jobs.map(({ tenant, id }) => `${tenant}/${id}`).toSorted(),
        ['team-b/only', 'team-b/same'],
      );
      t.strictSame(
        (await queue.list({ limit: 10 })).jobs.map(({ id }) => id),
        ['same'],
      );
      t.strictSame(await queue.usage(), { waiting: 1, running: 0 });
      t.strictSame(await other.usage(), { waiting: 2, running: 0 });
      // A page of one tenant names a place that another can use, and still sees its own alone.
      const { nextCursor } = await other.list({ limit: 1 });
      t.strictSame(
        (await queue.list({ limit: 10, cursor: nextCursor! })).jobs
          .map(({ tenant }) => tenant)
          .filter((each) => each !== 'default'),
        [],
      );

      const seen: string[] = [];
      await work(t, async ({ tenant, id }) => {
        seen.push(`${tenant}/${id}`);
        return someResult(`${tenant}/${id}`);
      });
      t.match(await watchUntil(other, 'same', ({ status }) => status === 'succeeded'), { tenant: 'team-b' });
      t.strictSame((await ended(queue, 'same')).result, someResult('default/same'));
      t.equal(seen.filter((each) => each === 'team-b/same').length, 1);
      for (const bad of ['', 'A', 'a.b', 'a/b', 'a:b']) t.throws(() => queue.of(bad), TypeError);
    });

    await on('tenants take turns, with priorities inside a tenant', async (t, queue) => {
      const [small, urgent] = [queue.of('small'), queue.of('urgent')];
      const order: string[] = [];
      for (let each = 0; each < 30; each++) await queue.submit(`job-${each}`, somePayload());
      await small.submit('first', somePayload({ priority: 0 }));
      await small.submit('second', somePayload({ priority: 0 }));
      // The others' priorities are theirs: nine does not go before what has waited its turn.
      for (let each = 0; each < 3; each++)
        await urgent.submit(`${each}`.padStart(4, 'u'), somePayload({ priority: 9 }));
      await queue.submit('mine-urgent', somePayload({ priority: 9 }));
      await queue.submit('mine-background', somePayload({ priority: 0 }));
      t.equal((await queue.find('mine-urgent'))?.position, 0);
      t.equal((await small.find('second'))?.position, 1);
      await work(t, async ({ tenant, id }) => {
        order.push(`${tenant}/${id}`);
        return someResult(id);
      });
      await ended(queue, 'mine-background');
      const place = (name: string) => order.indexOf(name);
      t.equal(order.length, 37);
      t.ok(
        place('small/first') <= 3,
        `the small tenant's first job starts at once (${place('small/first')})`,
      );
      t.ok(place('small/second') <= 6, `and its second in the next round (${place('small/second')})`);
      t.ok(place('urgent/uuu2') <= 9, `three tenants share alike (${place('urgent/uuu2')})`);
      const mine = order.filter((name) => name.startsWith('default/')).map((name) => name.split('/')[1]!);
      t.strictSame(
        mine,
        ['mine-urgent', ...Array.from({ length: 30 }, (_, each) => `job-${each}`), 'mine-background'],
        'inside the tenant: by priority, then in turn',
      );
    });

    await on('a tenant runs and waits no more than it may', async (t, queue) => {
      const tenant = queue.of('bounded');
      const quota = { maxWaiting: 4, maxRunning: 2 };
      let [running, most] = [0, 0];
      await work(
        t,
        async ({ tenant: whose, id }) => {
          if (whose === 'bounded') {
            running += 1;
            most = Math.max(most, running);
            await new Promise((resolve) => setTimeout(resolve, 50));
            running -= 1;
          }
          return someResult(id);
        },
        { concurrency: 6 },
      );
      const ids: string[] = [];
      for (let each = 0; each < 12; each++) {
        const id = `job-${each}`;
        await until(async () => (await tenant.usage()).waiting < quota.maxWaiting);
        await tenant.submit(id, somePayload(), { quota });
        ids.push(id);
      }
      await queue.submit('other', somePayload());
      t.match(await ended(queue, 'other'), { status: 'succeeded' });
      for (const id of ids) {
        t.match(await watchUntil(tenant, id, ({ status }) => status === 'succeeded'), { attempts: Number });
      }
      t.equal(most, 2, 'two at a time');
    });

    await on('a tenant whose line is full is refused, others are not', async (t, queue) => {
      const tenant = queue.of('bounded');
      const quota = { maxWaiting: 2 };
      await tenant.submit('one', somePayload(), { quota });
      await tenant.submit('two', somePayload(), { quota });
      await t.rejects(tenant.submit('three', somePayload(), { quota }), {
        code: 'quota-waiting-exceeded',
        retryAfterSeconds: Number,
      });
      t.match(await queue.submit('three', somePayload(), { quota }), { created: true });
      await tenant.cancel('one');
      t.match(await tenant.submit('three', somePayload(), { quota }), { created: true });
    });

    await on('requests are counted for all that share the backend', async (t) => {
      const elsewhere = await suite.connect();
      const policy = { burst: 3, windowSeconds: 60 };
      const states = [];
      for (const { rates } of [main, elsewhere, main]) states.push(await rates.take('a', policy));
      t.strictSame(
        states.map(({ allowed, remaining }) => [allowed, remaining]),
        [
          [true, 2],
          [true, 1],
          [true, 0],
        ],
      );
      const refused = await main.rates.take('a', policy);
      t.match(refused, { allowed: false, remaining: 0 });
      t.ok(refused.resetMs > 0 && refused.resetMs <= 60_000);
      t.match(await main.rates.take('b', policy), { allowed: true }, 'each has its own');
    });

    await on('clean-up runs by the clock, once for all workers', async (t) => {
      const runs: string[] = [];
      const expire: JobHandler<'expire'> = async ({ id }) => {
        runs.push(id);
        return { adapters: 0, files: 0, records: 0 };
      };
      const handlers = {
        generate: async ({ id }: { id: string }) => someResult(id),
        ...idleHandlers,
        expire,
      };
      await work(t, handlers.generate, { handlers });
      await work(t, handlers.generate, { handlers, backend: await suite.connect() });
      const bull = main.queue('expire');
      t.teardown(() => bull.close());
      t.equal(await bull.getJobSchedulersCount(), 1);
      const [next] = await bull.getDelayed();
      t.ok(next, 'its next run is planned');
      await next?.promote();
      await until(async () => runs.length > 0);
      t.equal(new Set(runs).size, runs.length, 'no run is done twice');
    });

    t.test('a job of the catalogue without a handler stops the start', async (t) => {
      await t.rejects(createWorkers({ backend: main, handlers: {} as never, concurrency: 1, logger }), {
        code: 'job-handler-missing',
      });
    });
  });
}
