import { setTimeout as delay } from 'node:timers/promises';
import type { TenantId } from '../base/ids.ts';
import type { Logger } from '../observability/logger.ts';
import type { Span } from '../observability/tracing.ts';
import type { BullQueue, StoredBullJob } from '../queue/backend.ts';
import { canceledFailure } from '../queue/job-record.ts';
import { createProgressWriter } from '../queue/progress-writer.ts';
import type { JobOrigin, JobProgress } from '../queue/queue.ts';
import { fromQueueId } from '../queue/stored-job.ts';
import { jobErrors } from './errors.ts';

/** Abort reason: this worker stops, and the job goes back to the queue unless it ends in time. */
export const WORKER_STOPPING = new Error('The worker stops; the job goes back to the queue.');
/** Abort reason: this worker no longer holds the job, so whatever it does is for nothing. */
export const LOCK_LOST = new Error('The job was given to another worker.');

/** Thrown by a handler: the job runs again at `at`, which costs it no attempt. `note` is kept and given to that run. */
export class PutOff extends Error {
  readonly at: number;
  readonly note: unknown;

  constructor(at: number, note?: unknown) {
    super('The job is put off.');
    this.at = at;
    this.note = note;
  }
}

/** What a handler knows of the run it carries out. */
export type RunContext<P> = TenantId & {
  readonly payload: P;
  /** 1 for the first run of the job. */
  readonly attempt: number;
  /** What the run before has left (see {@link PutOff}). */
  readonly note?: unknown;
  readonly origin?: JobOrigin;
  /** The run in its trace, where traces are kept. */
  readonly span?: Span;
  /** Aborts when the job is canceled, its deadline passes, the worker stops or the job was given to another worker. */
  readonly signal: AbortSignal;
  /** True when the job has ended or is gone, of which a run that was asleep meanwhile does not know yet. Asks the queue. */
  isOver(): Promise<boolean>;
  /** Shows how far the run is. Cheap to call often: the latest report within a short while is the one that is kept. */
  report(progress: Omit<JobProgress, 'sequence'>): void;
};

/** Options of {@link runJob}. */
export type RunJobOptions<P, R> = {
  readonly job: StoredBullJob;
  readonly payload: P;
  readonly handler: (context: RunContext<P>) => Promise<R>;
  /** Ends the run from outside, with {@link WORKER_STOPPING} or {@link LOCK_LOST}. */
  readonly run: AbortController;
  /** Where the job's record is read to see whether it was canceled. */
  readonly queue: Pick<BullQueue, 'getJob'>;
  readonly pollCancelMs: number;
  readonly letGoMs: number;
  readonly logger: Logger;
  readonly span?: Span | undefined;
  readonly now: () => number;
};

/** Longest delay that timers take; no run is that long. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/**
 * One run of a job under its own limits: cancellation, deadline, and a handler that does not let go. Rejects with the
 * handler's failure, or with the reason when the run was aborted; a result that comes in while the worker stops counts.
 */
export async function runJob<P, R>(options: RunJobOptions<P, R>): Promise<R> {
  const { job, payload, handler, run, queue, pollCancelMs, letGoMs, logger, span, now } = options;
  const queueId = job.id ?? '';
  const { signal } = run;

  const { deadlineAt = Number.POSITIVE_INFINITY } = payload as { deadlineAt?: number };
  const leftMs = deadlineAt - now();
  const late = jobErrors.deadline('Its deadline passed before it was done.');
  if (leftMs <= 0) throw late;
  const timer = leftMs < MAX_TIMER_MS ? setTimeout(() => run.abort(late), leftMs) : undefined;

  let giveUp: NodeJS.Timeout | undefined;
  const stuck = new Promise<never>((_resolve, reject) => {
    const onAbort = () => {
      giveUp = setTimeout(() => reject(signal.reason), letGoMs);
    };
    signal.addEventListener('abort', onAbort, { once: true });
  });
  const ended = new AbortController();
  const progress = createProgressWriter(job, logger);
  const watchRecord = async () => {
    // A poll needs no channel between processes and works on every backend.
    for (;;) {
      await delay(pollCancelMs, undefined, { signal: ended.signal });
      const record = await queue.getJob(queueId).catch(() => 'unreadable' as const);
      if (record === undefined) run.abort(LOCK_LOST);
      else if (record !== 'unreadable' && record.data.canceled) run.abort(canceledFailure());
    }
  };
  watchRecord().catch(() => undefined);

  try {
    const { note, origin } = job.data;
    const context = {
      ...fromQueueId(queueId),
      payload,
      attempt: job.attemptsStarted,
      signal,
      async isOver() {
        const record = await queue.getJob(queueId);
        return record === undefined || record.finishedOn !== undefined;
      },
      ...(note !== undefined && { note: JSON.parse(note) as unknown }),
      ...(origin && { origin }),
      ...(span && { span }),
    };
    const output = await Promise.race([handler({ ...context, report: progress.report }), stuck]);
    if (signal.aborted && signal.reason !== WORKER_STOPPING) throw signal.reason;
    return output;
  } catch (error) {
    throw signal.aborted ? signal.reason : error;
  } finally {
    clearTimeout(timer);
    clearTimeout(giveUp);
    ended.abort();
    await progress.close();
  }
}
