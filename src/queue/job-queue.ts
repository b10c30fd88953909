import { isTenant, type TenantId } from '../base/ids.ts';
import type { Logger } from '../observability/logger.ts';
import type { BullEvents, BullQueue, QueueBackend, StoredBullJob } from './backend.ts';
import { queueErrors } from './errors.ts';
import type { IndexEntry } from './job-index.ts';
import { toJobRecord } from './job-record.ts';
import { listJobs } from './list-jobs.ts';
import {
  isFinal,
  type JobEnvelope,
  type JobQueue,
  type JobRecord,
  type QueueUsage,
  type SubmitOptions,
  type TenantQueue,
} from './queue.ts';
import { removeExpiredRecords } from './remove-expired-records.ts';
import { fromQueueId, storeJob, toQueueId } from './stored-job.ts';
import { createTurns, WAITING_NUMBERS } from './turns.ts';
import { createJobWatch } from './watch-jobs.ts';
import { withQueueTimeout } from './with-queue-timeout.ts';

/** Options of {@link createJobQueue}. */
export type JobQueueOptions = {
  readonly backend: QueueBackend;
  /** The catalogue's name of the job, and how it is tried. */
  readonly name: string;
  readonly attempts: number;
  /** First wait between runs; doubles each time, with jitter. */
  readonly backoffMs: number;
  /** Jobs of all tenants that may wait. Calls that overlap can exceed it by as many as they are. */
  readonly maxWaiting: number;
  readonly logger: Logger;
  readonly now?: () => number;
};

/** Longest a followed job's change goes unseen if its event was lost, and how often positions are told anew. */
const WATCH_POLL_MS = 2000;
/** Number of recently finished jobs used to estimate `Retry-After`. */
const PACE_SAMPLE = 20;
const MAX_RETRY_AFTER_S = 60;
const DEFAULT_RETRY_AFTER_S = 5;

/** BullMQ's events after which a job may look different. */
const CHANGES = ['active', 'waiting', 'delayed', 'progress', 'completed', 'failed', 'removed'] as const;

/**
 * The {@link JobQueue} over any backend. A job is one BullMQ record from acceptance until its retention is over
 * (BullMQ is told never to remove one), so an id is taken exactly as long as its record lives.
 */
export async function createJobQueue<P extends JobEnvelope, R>(
  options: JobQueueOptions,
): Promise<JobQueue<P, R>> {
  const { backend, name, attempts, backoffMs, maxWaiting, logger, now = Date.now } = options;
  const queue: BullQueue = backend.queue(name);
  const index = backend.index(name);
  const turns = createTurns(queue, index, now);
  const watch = createJobWatch<JobRecord<P, R>>({
    read: (queueId) => answer(read(fromQueueId(queueId))),
    pollMs: WATCH_POLL_MS,
    logger,
  });
  const events: BullEvents = backend.events(name);
  let closed: Promise<void> | undefined;

  const answer = <T>(call: Promise<T>) => withQueueTimeout(call, backend.answerTimeoutMs);

  const load = (job: TenantId): Promise<StoredBullJob | undefined> => queue.getJob(toQueueId(job));
  const present = (
    job: StoredBullJob,
    state: { active: boolean; position?: number | undefined },
  ): JobRecord<P, R> => toJobRecord(job, state) as JobRecord<P, R>;

  /** BullMQ's record and its state are two reads; when the job ended or went in between, the record is read again. */
  async function read(which: TenantId, again = true): Promise<JobRecord<P, R> | undefined> {
    const job = await load(which);
    if (!job) return undefined;
    if (job.finishedOn !== undefined || job.data.canceled) return present(job, { active: false });
    const state = await queue.getJobState(toQueueId(which));
    if (again && (state === 'completed' || state === 'failed' || state === 'unknown'))
      return read(which, false);
    if (state === 'active') return present(job, { active: true });
    // Without a number it was recovered from a dead worker and starts before all others.
    const position = state === 'waiting' ? 0 : await index.ahead(entryOf(which, job));
    return present(job, { active: false, position });
  }

  const entryOf = ({ tenant, id }: TenantId, { timestamp }: StoredBullJob): IndexEntry => ({
    tenant,
    id,
    acceptedAt: timestamp,
  });

  /** What submit answers for an id that exists. */
  async function existing(which: TenantId, { fingerprint }: P) {
    const record = await read(which);
    if (record && record.payload.fingerprint !== fingerprint) {
      throw queueErrors.conflict(`The request differs from the one that ${which.id} was accepted for.`);
    }
    return record && { record, created: false };
  }

  /** Seconds until about one place is free, from the pace at which the last jobs succeeded. */
  async function retryAfterSeconds(): Promise<number> {
    const ids = await queue.getRanges(['completed'], 0, PACE_SAMPLE - 1);
    const [newest, oldest] = await Promise.all([ids[0], ids.at(-1)].map((id) => id && queue.getJob(id)));
    if (!newest || !oldest || ids.length < 2) return DEFAULT_RETRY_AFTER_S;
    const paceMs = ((newest.finishedOn ?? 0) - (oldest.finishedOn ?? 0)) / (ids.length - 1);
    return Math.min(Math.max(Math.ceil(paceMs / 1000), 1), MAX_RETRY_AFTER_S);
  }

  async function refuseWhenFull(tenant: string, { quota = {} }: SubmitOptions): Promise<void> {
    const counts = await queue.getCountsPerPriority([...WAITING_NUMBERS]);
    if (Object.values(counts).reduce((sum, each) => sum + each, 0) >= maxWaiting) {
      throw queueErrors.full(`${maxWaiting} jobs are waiting, as many as may.`, {
        retryAfterSeconds: await retryAfterSeconds(),
      });
    }
    const most = quota.maxWaiting;
    if (most !== undefined && (await index.waiting(tenant)) >= most) {
      throw queueErrors.tenantFull(`${most} of your jobs are waiting, as many as may.`, {
        retryAfterSeconds: await retryAfterSeconds(),
      });
    }
  }

  async function submit(which: TenantId, payload: P, submitOptions: SubmitOptions) {
    const { fresh = false, quota = {}, notify, origin } = submitOptions;
    if (!fresh) {
      const known = await existing(which, payload);
      if (known) return known;
    }
    await refuseWhenFull(which.tenant, submitOptions);
    const { acceptedAt, priority } = payload;
    const entry: IndexEntry = { ...which, acceptedAt };
    const place = await turns.accept(entry, {
      expiresAt: acceptedAt + payload.retentionSeconds * 1000,
      priority,
      ...(notify && { notifyAt: notify.at }),
    });
    const data = storeJob(payload, { ...quota, ...(notify && { notify: notify.of }), origin });
    const job = await queue.add(name, data, {
      jobId: toQueueId(which),
      priority: place.number,
      attempts,
      backoff: { type: 'exponential', delay: backoffMs, jitter: 0.5 },
      removeOnComplete: false,
      removeOnFail: false,
      // A stack holds paths of the machine; the worker's log has it.
      stackTraceLimit: 0,
      timestamp: acceptedAt,
    });
    if (!fresh) {
      // BullMQ ignores an id that exists without saying so. Whose nonce is stored tells who created the record.
      const stored = await load(which);
      if (stored && stored.data.nonce !== data.nonce) {
        const winner = await existing(which, payload).catch(async (error) => {
          if (stored.timestamp !== acceptedAt) await index.remove(entry);
          throw error;
        });
        if (winner && winner.record.payload.acceptedAt !== acceptedAt) await index.remove(entry);
        if (winner) return winner;
      }
    }
    await turns.added(entry, place);
    return { record: present(job, { active: false, position: place.ahead }), created: true };
  }

  /**
   * Cancellation is a note in the job's data. Acceptance writes that data once and cancellation is the only other writer,
   * so no update can be lost but an equal one. A job that has ended takes no note any more: what was told of it holds.
   */
  async function cancel(which: TenantId): Promise<JobRecord<P, R>> {
    const record = await read(which);
    const job = await load(which);
    if (!record || !job) throw queueErrors.notFound('It has never existed, or its time to be kept is over.');
    if (isFinal(record)) throw queueErrors.finished(`It is ${record.status}.`);
    const { attempts: runs, startedAt } = record;
    const canceled = { at: now(), attempts: runs, ...(startedAt !== undefined && { startedAt }) };
    job.data = { ...job.data, canceled };
    if (!(await backend.replaceDataUnlessEnded(queue, toQueueId(which), job.data))) {
      const ended = await read(which);
      throw queueErrors.finished(ended ? `It is ${ended.status}.` : 'Its time to be kept is over.');
    }
    // To the front, without a priority: the next free worker only closes it, and it takes no place meanwhile.
    await job.changePriority({ priority: 0, lifo: true });
    await turns.leave(entryOf(which, job));
    watch.hint(toQueueId(which));
    return present(job, { active: false });
  }

  async function usage(tenant: string): Promise<QueueUsage> {
    const [waiting, active] = await Promise.all([index.waiting(tenant), queue.getRanges(['active'], 0, -1)]);
    return { waiting, running: active.filter((id) => fromQueueId(id).tenant === tenant).length };
  }

  const hint = ({ jobId }: { jobId: string }) => watch.hint(jobId);
  for (const change of CHANGES) events.on(change, hint);
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

  function of(tenant: string): TenantQueue<P, R> {
    if (!isTenant(tenant)) throw new TypeError('A tenant has the form of a tenant.');
    return {
      submit: (id, payload, submitOptions = {}) => answer(submit({ tenant, id }, payload, submitOptions)),
      find: (id) => answer(read({ tenant, id })),
      list: (query) => answer(listJobs<P, R>(tenant, query, { index, read })),
      cancel: (id) => answer(cancel({ tenant, id })),
      watch: (id, watchOptions) => watch.follow(toQueueId({ tenant, id }), watchOptions),
      usage: () => answer(usage(tenant)),
    };
  }
  return {
    of,
    async counts() {
      const { prioritized, active, delayed } = await answer(
        queue.getJobCounts('prioritized', 'active', 'delayed'),
      );
      return { waiting: prioritized ?? 0, active: active ?? 0, delayed: delayed ?? 0 };
    },
    removeExpired: (time, limit, beforeRemoval) =>
      removeExpiredRecords<P, R>({ queue, index, read, beforeRemoval, time, limit }),
    mendTurns: () => turns.mend(),
    notices: {
      due: (time, limit) => answer(index.noticesDue(time, limit)),
      postpone: (entry, at) => answer(index.postponeNotice(entry, at)),
      drop: (entry) => answer(index.dropNotice(entry)),
    },
    ready: () => backend.ready(),
    close,
  };
}
