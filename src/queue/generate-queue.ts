import { type GeneratePayload, JOB_CATALOG } from '../jobs/catalog.ts';
import type { Logger } from '../observability/logger.ts';
import { answering } from './answering.ts';
import type { BullEvents, BullQueue, QueueBackend, StoredBullJob } from './backend.ts';
import { queueErrors } from './errors.ts';
import type { IndexEntry } from './job-index.ts';
import { toJobRecord } from './job-record.ts';
import { type GenerateQueue, isFinal, type JobQuery, type JobRecord } from './queue.ts';
import { createQueuePositions } from './queue-positions.ts';
import { fromQueueId, storeJob, toQueueId } from './stored-job.ts';
import { createJobWatch } from './watch-jobs.ts';

/** Options of {@link createGenerateQueue}. */
export type GenerateQueueOptions = {
  readonly backend: QueueBackend;
  /** Jobs that may wait. Calls that overlap can exceed it by as many as they are. */
  readonly maxWaiting: number;
  readonly logger: Logger;
  readonly now?: () => number;
};

/** Our priorities, and BullMQ's, where the smallest positive number goes first and zero before all of them. */
const PRIORITIES = Array.from({ length: 10 }, (_, priority) => priority);
const toQueuePriority = (priority: number) => PRIORITIES.length - priority;

/** Records read for one page of the list, at most: a rare status must not make one call read everything. */
const MAX_SCANNED = 500;
/** Records read at a time. Each holds the prompts of its job. */
const SCAN_BATCH = 50;
/** Longest a followed job's change goes unseen if its event was lost, and how often positions are told anew. */
const WATCH_POLL_MS = 2000;
/** Finished jobs whose pace tells how soon a place becomes free. */
const PACE_SAMPLE = 20;
const MAX_RETRY_AFTER_S = 60;
const DEFAULT_RETRY_AFTER_S = 5;
/** A record that expired while a worker still held it is looked at again after this long. */
const HELD_RETRY_MS = 60_000;

const { timing } = JOB_CATALOG.generate;

/**
 * The {@link GenerateQueue} over any backend. A job is one BullMQ record from acceptance until its retention is over
 * (BullMQ is told never to remove one), so an id is taken exactly as long as its record lives.
 */
export async function createGenerateQueue(options: GenerateQueueOptions): Promise<GenerateQueue> {
  const { backend, maxWaiting, logger, now = Date.now } = options;
  const queue: BullQueue = backend.queue('generate');
  const index = backend.index('generate');
  const positions = createQueuePositions(queue, now);
  const watch = createJobWatch({ read: (id) => answer(read(id)), pollMs: WATCH_POLL_MS, logger });
  const events: BullEvents = backend.events('generate');
  let closed: Promise<void> | undefined;

  const answer = <T>(call: Promise<T>) => answering(call, backend.answerTimeoutMs);

  const load = (id: string): Promise<StoredBullJob | undefined> => queue.getJob(toQueueId(id));

  /** BullMQ's record and its state are two reads; when the job ended or went in between, the record is read again. */
  async function read(id: string, again = true): Promise<JobRecord | undefined> {
    const job = await load(id);
    if (!job) return undefined;
    if (job.finishedOn !== undefined || job.data.canceled) return toJobRecord(job, { active: false });
    const state = await queue.getJobState(toQueueId(id));
    if (again && (state === 'completed' || state === 'failed' || state === 'unknown')) return read(id, false);
    if (state === 'active') return toJobRecord(job, { active: true });
    return toJobRecord(job, { active: false, position: await positions.of(toQueueId(id)) });
  }

  /** What submit answers for an id that exists. */
  async function existing(id: string, { fingerprint }: GeneratePayload) {
    const record = await read(id);
    if (record && record.payload.fingerprint !== fingerprint) {
      throw queueErrors.conflict(`The request differs from the one that ${id} was accepted for.`);
    }
    return record && { record, created: false };
  }

  /** Seconds until about one place is free, from the pace at which the last jobs succeeded. */
  async function retryAfterSeconds(): Promise<number> {
    const ids = await queue.getRanges(['completed'], 0, PACE_SAMPLE - 1);
    const [newest, oldest] = await Promise.all([ids[0], ids.at(-1)].map((id) => id && load(fromQueueId(id))));
    if (!newest || !oldest || ids.length < 2) return DEFAULT_RETRY_AFTER_S;
    const paceMs = ((newest.finishedOn ?? 0) - (oldest.finishedOn ?? 0)) / (ids.length - 1);
    return Math.min(Math.max(Math.ceil(paceMs / 1000), 1), MAX_RETRY_AFTER_S);
  }

  async function submit(id: string, payload: GeneratePayload, fresh: boolean) {
    if (!fresh) {
      const known = await existing(id, payload);
      if (known) return known;
    }
    // What waits without a priority is canceled, or was taken from a dead worker and starts next: it takes no place.
    const waiting = await queue.getCountsPerPriority(PRIORITIES.map(toQueuePriority));
    const ahead = (least: number) =>
      PRIORITIES.reduce((sum, each) => sum + (each < least ? 0 : (waiting[toQueuePriority(each)] ?? 0)), 0);
    if (ahead(0) >= maxWaiting) {
      throw queueErrors.full(`${maxWaiting} jobs are waiting, as many as may.`, {
        retryAfterSeconds: await retryAfterSeconds(),
      });
    }
    const entry: IndexEntry = { id, acceptedAt: payload.acceptedAt };
    await index.add(entry, payload.acceptedAt + payload.retentionSeconds * 1000);
    const data = storeJob<'generate'>(payload);
    const job = await queue.add('generate', data, {
      jobId: toQueueId(id),
      priority: toQueuePriority(payload.priority),
      attempts: timing.attempts,
      backoff: { type: 'exponential', delay: timing.backoffMs, jitter: 0.5 },
      removeOnComplete: false,
      removeOnFail: false,
      // A stack holds paths of the machine; the worker's log has it.
      stackTraceLimit: 0,
      timestamp: payload.acceptedAt,
    });
    if (!fresh) {
      // BullMQ ignores an id that exists without saying so. Whose nonce is stored tells who created the record.
      const stored = await load(id);
      if (stored && stored.data.nonce !== data.nonce) {
        const winner = await existing(id, payload);
        if (winner && winner.record.payload.acceptedAt !== payload.acceptedAt) await index.remove(entry);
        if (winner) return winner;
      }
    }
    return {
      record: toJobRecord(job, { active: false, position: ahead(payload.priority) }),
      created: true,
    };
  }

  /**
   * Cancellation is a note in the job's data. Acceptance writes that data once and cancellation is the only other writer,
   * so no update can be lost but an equal one. The one race left: a job that ends between the two steps below turns from
   * succeeded to canceled under a reader's eyes, and then stays so.
   */
  async function cancel(id: string): Promise<JobRecord> {
    const record = await read(id);
    const job = await load(id);
    if (!record || !job) throw queueErrors.notFound('It has never existed, or its time to be kept is over.');
    if (isFinal(record)) throw queueErrors.finished(`It is ${record.status}.`);
    const { attempts, startedAt } = record;
    const canceled = { at: now(), attempts, ...(startedAt !== undefined && { startedAt }) };
    await job.updateData({ ...job.data, canceled });
    // To the front, without a priority: the next free worker only closes it, and it takes no place meanwhile.
    await job.changePriority({ priority: 0, lifo: true });
    watch.hint(id);
    return toJobRecord(job, { active: false });
  }

  function matches(record: JobRecord, { status, model }: JobQuery): boolean {
    return (!status || record.status === status) && (!model || record.payload.model === model);
  }

  async function list(query: JobQuery) {
    const jobs: JobRecord[] = [];
    let before = query.cursor === undefined ? undefined : decodeCursor(query.cursor);
    for (let scanned = 0; jobs.length < query.limit && scanned < MAX_SCANNED; ) {
      const batch =
        query.status || query.model ? SCAN_BATCH : Math.min(SCAN_BATCH, query.limit - jobs.length);
      const entries = await index.newest({ ...(before && { before }), limit: batch });
      if (entries.length === 0) return { jobs };
      const records = await Promise.all(entries.map(({ id }) => read(id)));
      for (const [at, entry] of entries.entries()) {
        const record = records[at];
        before = entry;
        // An entry whose time is another's belongs to a submit that lost the race for its id.
        if (record?.payload.acceptedAt === entry.acceptedAt && matches(record, query)) jobs.push(record);
        if (jobs.length === query.limit) break;
      }
      scanned += entries.length;
    }
    const more = before && (await index.newest({ before, limit: 1 })).length > 0;
    return before && more ? { jobs, nextCursor: encodeCursor(before) } : { jobs };
  }

  async function removeExpired(time: number, limit: number) {
    let removed = 0;
    const due = await index.due(time, limit);
    for (const entry of due) {
      const record = await read(entry.id);
      if (record?.payload.acceptedAt === entry.acceptedAt) {
        // Retention counts from the end; one that has not ended cannot expire sooner than if it ended now.
        const expiresAt = (record.finishedAt ?? time) + record.payload.retentionSeconds * 1000;
        if (expiresAt > time) {
          await index.postpone(entry, expiresAt);
          continue;
        }
        const state = await queue.getJobState(toQueueId(entry.id));
        if (state === 'active') {
          await index.postpone(entry, time + HELD_RETRY_MS);
          continue;
        }
        await (await load(entry.id))?.remove();
        removed++;
      }
      await index.remove(entry);
    }
    return { removed, more: due.length === limit };
  }

  const hint = ({ jobId }: { jobId: string }) => watch.hint(fromQueueId(jobId));
  for (const name of [
    'active',
    'waiting',
    'delayed',
    'progress',
    'completed',
    'failed',
    'removed',
  ] as const) {
    events.on(name, hint);
  }
  const close = () => {
    closed ??= (async () => {
      watch.close();
      // On Redis this waits for the end of a connection that may be down and then never comes.
      await answer(events.close()).catch((error) => logger.debug({ err: error }, 'event stream not closed'));
      await queue.close();
    })();
    return closed;
  };
  try {
    await answer(Promise.all([queue.waitUntilReady(), events.waitUntilReady()]));
  } catch (error) {
    await close();
    throw error;
  }

  return {
    submit: (id, payload, { fresh = false } = {}) => answer(submit(id, payload, fresh)),
    find: (id) => answer(read(id)),
    list: (query) => answer(list(query)),
    cancel: (id) => answer(cancel(id)),
    watch: (id, watchOptions) => watch.follow(id, watchOptions),
    async counts() {
      const { prioritized, active, delayed } = await answer(
        queue.getJobCounts('prioritized', 'active', 'delayed'),
      );
      return { waiting: prioritized ?? 0, active: active ?? 0, delayed: delayed ?? 0 };
    },
    removeExpired,
    ready: () => backend.ready(),
    close,
  };
}

function encodeCursor({ acceptedAt, id }: IndexEntry): string {
  return Buffer.from(`${acceptedAt}.${id}`).toString('base64url');
}

function decodeCursor(cursor: string): IndexEntry {
  const parts = /^([0-9]{1,15})\.([A-Za-z0-9_-]{1,64})$/.exec(Buffer.from(cursor, 'base64url').toString());
  if (!parts) throw queueErrors.badCursor('Take it as it came from the page before.');
  return { acceptedAt: Number(parts[1]), id: parts[2] ?? '' };
}
