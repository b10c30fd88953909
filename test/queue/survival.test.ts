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
import { startPostgres } from '../helpers/postgres.ts';
import { startRedis } from '../helpers/redis.ts';
import { startQueueProcess } from './fixtures/start-queue-process.ts';

/** The queue of a test on a server, closed at its end. */
async function connect(t: Test, url: string) {
  const backend = await openQueueBackend({ url, dataDirectory: '', logger });
  const queue = await openDefaultQueue({ backend, maxWaiting: 1000, logger });
  t.teardown(async () => {
    await queue.close();
    await backend.close();
  });
  return { backend, queue };
}

const range = (length: number) => Array.from({ length }, (_, index) => `job-${index}`);

for (const [name, start] of [
  ['Redis', startRedis],
  ['PostgreSQL', startPostgres],
] as const) {
  test(`a worker on ${name} is killed in mid-job: another does it, with one result`, async (t) => {
    const server = await start(t);
    if (!server) return;
    const { queue } = await connect(t, server.url);
    const doomed = await startQueueProcess(t, '', server.url);
    await queue.submit('survivor', somePayload());
    await doomed.told('started', 'survivor');
    const other = await startQueueProcess(t, '', server.url);
    t.equal(await doomed.kill(), 'SIGKILL');
    t.match(await other.told('started', 'survivor'), { attempt: 2 });
    other.ask({ do: 'open-gate' });
    const done = await watchUntil(queue, 'survivor', ({ finishedAt }) => finishedAt !== undefined);
    t.match(done, { status: 'succeeded', attempts: 2, result: someResult('survivor') });
    t.equal(other.reports.filter(({ event }) => event === 'started').length, 1);
    t.strictSame(await queue.counts(), { waiting: 0, active: 0, delayed: 0 });
  });

  test(`${name} stops and comes back: nothing accepted is lost`, async (t) => {
    const server = await start(t);
    if (!server) return;
    const { backend, queue } = await connect(t, server.url);
    const runs: string[] = [];
    let blocked = true;
    const workers = await createWorkers({
      backend,
      handlers: {
        async generate({ id, signal }) {
          runs.push(id);
          await until(async () => !blocked || signal.aborted);
          signal.throwIfAborted();
          return someResult(id);
        },
        ...idleHandlers,
      },
      concurrency: 2,
      logger,
      ...QUICK,
    });
    t.teardown(() => workers.close({ drainMs: 0 }));
    const ids = range(20);
    for (const id of ids) await queue.submit(id, somePayload());
    await until(async () => runs.length === 2);
    const watching = queue.watch('job-0')[Symbol.asyncIterator]();
    await watching.next();
    const last = (async () => {
      for (let next = await watching.next(); !next.done; next = await watching.next()) {
        if (next.value.finishedAt !== undefined) return next.value;
      }
      return undefined;
    })();

    await server.kill();
    const calls: (() => Promise<unknown>)[] = [
      () => queue.submit('refused', somePayload()),
      () => queue.find('job-1'),
      () => queue.cancel('job-1'),
      () => queue.list({ limit: 1 }),
      () => queue.counts(),
      () => queue.ready(),
    ];
    for (const call of calls) {
      const from = performance.now();
      await t.rejects(call(), { code: 'queue-unavailable' });
      t.ok(performance.now() - from < 3000, 'fails fast');
    }
    await server.restart();
    await until(async () =>
      queue.ready().then(
        () => true,
        () => false,
      ),
    );
    blocked = false;
    for (const id of ids) {
      const done = await watchUntil(queue, id, ({ finishedAt }) => finishedAt !== undefined);
      t.match(done, { id, status: 'succeeded' });
    }
    t.match(await last, { status: 'succeeded' }, 'a watcher lives through it');
    t.match(await queue.submit('after', somePayload()), { created: true });
    await watchUntil(queue, 'after', ({ status }) => status === 'succeeded');
  });
}

test('a worker that slept too long lets go of the job that another has taken', async (t) => {
  const server = await startRedis(t);
  if (!server) return;
  const { queue } = await connect(t, server.url);
  const sleeper = await startQueueProcess(t, '', server.url);
  await queue.submit('taken', somePayload());
  await sleeper.told('started', 'taken');
  const other = await startQueueProcess(t, '', server.url);
  sleeper.sleep(true);
  await other.told('started', 'taken');
  sleeper.sleep(false);
  t.match(await sleeper.told('stopped', 'taken'), { reason: /another worker/ });
  other.ask({ do: 'open-gate' });
  t.match(await watchUntil(queue, 'taken', ({ finishedAt }) => finishedAt !== undefined), {
    status: 'succeeded',
    attempts: 2,
  });
  other.sleep(true);
  sleeper.ask({ do: 'open-gate' });
  await queue.submit('next', somePayload());
  await watchUntil(queue, 'next', ({ status }) => status === 'succeeded');
});

test('a job that ends every worker it meets is given up in the end', async (t) => {
  const server = await startRedis(t);
  if (!server) return;
  const { queue } = await connect(t, server.url);
  await queue.submit('poison', somePayload());
  for (let attempt = 1; attempt <= 2; attempt++) {
    const worker = await startQueueProcess(t, '', server.url, 1);
    t.match(await worker.told('started', 'poison'), { attempt });
    await worker.kill();
  }
  const last = await startQueueProcess(t, '', server.url, 1);
  t.match(await watchUntil(queue, 'poison', ({ finishedAt }) => finishedAt !== undefined), {
    status: 'failed',
    failure: { code: 'workers-lost', title: String, detail: String },
  });
  t.notOk(
    last.reports.some(({ event }) => event === 'started'),
    'it is not run once more',
  );
});

test('the embedded queue outlives its process', async (t) => {
  const directory = t.testdir({});
  const first = await startQueueProcess(t, directory);
  const ids = range(200);
  first.ask({ do: 'submit', ids });
  await first.told('started', 'job-0');
  await first.told('accepted', 'job-20');
  t.equal(await first.kill(), 'SIGKILL');
  const accepted = ids.filter((id) =>
    first.reports.some((each) => each.event === 'accepted' && each.id === id),
  );
  t.ok(accepted.length > 20 && accepted.length < ids.length, 'it died while accepting');

  const second = await startQueueProcess(t, directory);
  second.ask({ do: 'open-gate' });
  for (const id of accepted) {
    second.ask({ do: 'await', id });
    t.match(await second.told('ended', id), { record: { status: 'succeeded' } });
  }
  t.match(await second.told('started', 'job-0'), { attempt: 2 }, 'the job it died in was done again');
  second.ask({ do: 'close', drainMs: 0 });
  await second.told('closed');
});

test('a data directory has one process', async (t) => {
  const directory = t.testdir({});
  const owner = await startQueueProcess(t, directory);
  const second = await startQueueProcess(t, directory);
  const refused = await second.told('refused');
  t.equal(refused.code, 'data-directory-locked');
  t.match(refused.message, new RegExp(`Process ${owner.pid} `));
  await t.rejects(openQueueBackend({ dataDirectory: directory, logger }), { code: 'data-directory-locked' });
  await owner.kill();
  const third = await openQueueBackend({ dataDirectory: directory, logger });
  await t.rejects(
    openQueueBackend({ dataDirectory: directory, logger }),
    { code: 'data-directory-locked', message: new RegExp(`Process ${process.pid} `) },
    'the same process cannot open it twice either',
  );
  await third.close();
  await third.close();
});
