import { test } from 'tap';
import { queueErrors } from '../../src/queue/errors.ts';
import type { JobRecord } from '../../src/queue/queue.ts';
import { createJobWatch } from '../../src/queue/watch-jobs.ts';
import { logger, somePayload } from '../helpers/generate-job.ts';
import { until } from '../helpers/loradrop-process.ts';

/** A record that changes when told, and counts how often it is read. */
function source() {
  const payload = somePayload();
  let record: JobRecord | undefined = {
    tenant: 'default',
    id: 'job',
    status: 'queued',
    payload,
    progress: { sequence: 0, stage: 'queued', fraction: 0, adapter: 0 },
    attempts: 0,
  };
  let reads = 0;
  let failing = false;
  return {
    read: async () => {
      reads++;
      if (failing) throw queueErrors.unavailable('down');
      return record && structuredClone(record);
    },
    set(change: Partial<JobRecord> | undefined) {
      record = change && { ...record!, ...change };
    },
    fail(value: boolean) {
      failing = value;
    },
    reads: () => reads,
  };
}

/** Collects what a reader sees. */
function collect(iterable: AsyncIterable<JobRecord>) {
  const seen: string[] = [];
  const end = (async () => {
    for await (const { status } of iterable) seen.push(status);
  })();
  return { seen, end };
}

test('many readers of a job cost one read a change', async (t) => {
  const job = source();
  const watch = createJobWatch({ read: job.read, pollMs: 60_000, logger });
  const readers = Array.from({ length: 50 }, () => collect(watch.follow('job')));
  await until(async () => readers.every(({ seen }) => seen.length === 1));
  t.equal(job.reads(), 1);
  watch.hint('job');
  watch.hint('other');
  await until(async () => job.reads() === 2);
  job.set({ status: 'processing' });
  watch.hint('job');
  await until(async () => readers.every(({ seen }) => seen.length === 2));
  job.set({ status: 'succeeded', finishedAt: 1 });
  // Hints that come in while the record is read are one more read, not one each.
  for (let each = 0; each < 20; each++) watch.hint('job');
  await Promise.all(readers.map(({ end }) => end));
  for (const { seen } of readers) t.strictSame(seen, ['queued', 'processing', 'succeeded']);
  t.ok(job.reads() <= 5, `${job.reads()} reads`);
});

test('a change without a hint is seen by the poll, and an outage is waited out', async (t) => {
  const job = source();
  const watch = createJobWatch({ read: job.read, pollMs: 10, logger });
  const { seen, end } = collect(watch.follow('job'));
  await until(async () => seen.length === 1);
  job.fail(true);
  const reads = job.reads();
  await until(async () => job.reads() > reads + 2);
  job.set({ status: 'canceled', finishedAt: 1 });
  job.fail(false);
  await end;
  t.strictSame(seen, ['queued', 'canceled']);
  const settled = job.reads();
  watch.hint('job');
  t.equal(job.reads(), settled, 'nobody follows it any more');
});

test('a job that is gone, and a queue that cannot be read at first, end the watch', async (t) => {
  const job = source();
  const watch = createJobWatch({ read: job.read, pollMs: 10, logger });
  const follow = () => watch.follow('job').next();
  job.fail(true);
  await t.rejects(follow(), { code: 'queue-unavailable' });
  job.fail(false);
  const reader = watch.follow('job');
  t.match(await reader.next(), { done: false, value: { status: 'queued' } });
  job.set(undefined);
  await t.rejects(reader.next(), { code: 'job-not-found' });
  await t.rejects(follow(), { code: 'job-not-found' });
});

test('a slow reader misses states between, never the last', async (t) => {
  const job = source();
  const watch = createJobWatch({ read: job.read, pollMs: 60_000, logger });
  const slow = watch.follow('job');
  await slow.next();
  const quick = collect(watch.follow('job'));
  await until(async () => quick.seen.length === 1);
  job.set({ status: 'processing' });
  watch.hint('job');
  await until(async () => quick.seen.length === 2);
  job.set({ status: 'failed', finishedAt: 1 });
  watch.hint('job');
  await quick.end;
  t.match(await slow.next(), { value: { status: 'failed' } });
  t.match(await slow.next(), { done: true });
});
