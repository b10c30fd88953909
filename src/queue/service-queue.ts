/**
 * A queue of jobs that the service gives itself, like the deliveries of webhooks: nobody lists, cancels or follows them,
 * and whoever gave them knows their ids.
 */
import type { TenantId } from '../base/ids.ts';
import type { BullQueue, QueueBackend, StoredBullJob } from './backend.ts';
import type { JobOrigin, QueueCounts } from './queue.ts';
import { type StoredJob, storeJob, toQueueId } from './stored-job.ts';
import { withQueueTimeout } from './with-queue-timeout.ts';

/** A job of a {@link ServiceQueue} as it stands. */
export type ServiceJob<P, R> = {
  readonly payload: P;
  /** `failed` only where a run could not be carried out; what a handler answers is a result. */
  readonly state: 'pending' | 'done' | 'failed';
  readonly result?: R;
  /** What the last run left for the next one. */
  readonly note?: unknown;
};

/** See the file's comment; `P` is the payload of its jobs, `R` what their handler hands back. */
export type ServiceQueue<P, R> = {
  /** Adds a job durably, unless there is one of this id. */
  add(which: TenantId, payload: P, origin?: JobOrigin): Promise<void>;
  find(which: TenantId): Promise<ServiceJob<P, R> | undefined>;
  /** Runs a job at once that was put off. Does nothing to others. */
  promote(which: TenantId): Promise<void>;
  /** Runs a job that has ended once more, with this note. False when it has not ended. */
  repeat(which: TenantId, note: unknown): Promise<boolean>;
  /** Removes a job that no worker holds. Idempotent. */
  remove(which: TenantId): Promise<void>;
  counts(): Promise<QueueCounts>;
  close(): Promise<void>;
};

/** Opens the queue of a job of the catalogue. Errors of all calls: `queue-unavailable`. */
export async function openServiceQueue<P, R>(options: {
  readonly backend: QueueBackend;
  /** The catalogue's name of the job, and how it is tried. */
  readonly name: string;
  readonly attempts: number;
  readonly backoffMs: number;
}): Promise<ServiceQueue<P, R>> {
  const { backend, name, attempts, backoffMs } = options;
  const queue: BullQueue = backend.queue(name);
  const answer = <T>(call: Promise<T>) => withQueueTimeout(call, backend.answerTimeoutMs);
  const load = (which: TenantId): Promise<StoredBullJob | undefined> => queue.getJob(toQueueId(which));

  async function repeat(which: TenantId, note: unknown): Promise<boolean> {
    const job = await load(which);
    if (job?.finishedOn === undefined) return false;
    await job.updateData({ ...job.data, note: JSON.stringify(note) });
    // Of two who repeat it at once, one finds it running already.
    const state = job.returnvalue ? 'completed' : 'failed';
    return job.retry(state, { resetAttemptsMade: true }).then(
      () => true,
      async (error) => {
        if ((await load(which))?.finishedOn === undefined) return false;
        throw error;
      },
    );
  }

  try {
    await answer(queue.waitUntilReady());
  } catch (error) {
    await queue.close();
    throw error;
  }
  return {
    add: (which, payload, origin) =>
      answer(
        queue
          .add(name, storeJob(payload, { notify: 'ends', origin }), {
            jobId: toQueueId(which),
            attempts,
            backoff: { type: 'exponential', delay: backoffMs, jitter: 0.5 },
            removeOnComplete: false,
            removeOnFail: false,
            stackTraceLimit: 0,
          })
          .then(() => undefined),
      ),
    async find(which) {
      const job = await answer(load(which));
      return job && present<P, R>(job);
    },
    async promote(which) {
      const job = await answer(load(which));
      // It may run by now, or have ended.
      await job?.promote().catch(() => undefined);
    },
    repeat: (which, note) => answer(repeat(which, note)),
    async remove(which) {
      const job = await answer(load(which));
      await answer(job?.remove() ?? Promise.resolve());
    },
    async counts() {
      const { waiting, active, delayed } = await answer(queue.getJobCounts('waiting', 'active', 'delayed'));
      return { waiting: waiting ?? 0, active: active ?? 0, delayed: delayed ?? 0 };
    },
    close: () => queue.close(),
  };
}

function present<P, R>(job: StoredBullJob): ServiceJob<P, R> {
  const { payload, note }: StoredJob = job.data;
  const ended = job.finishedOn !== undefined;
  return {
    payload: JSON.parse(payload) as P,
    state: ended ? (job.returnvalue ? 'done' : 'failed') : 'pending',
    ...(ended && job.returnvalue ? { result: job.returnvalue as R } : {}),
    ...(note !== undefined && { note: JSON.parse(note) as unknown }),
  };
}
