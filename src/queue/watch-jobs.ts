import { EventEmitter, once } from 'node:events';
import { isDeepStrictEqual } from 'node:util';
import { LoradropError } from '../base/errors.ts';
import type { Logger } from '../observability/logger.ts';
import { queueErrors } from './errors.ts';
import { isFinal, type JobRecord } from './queue.ts';

/** Options of {@link createJobWatch}. */
export type JobWatchOptions<T> = {
  /** The record now; undefined when there is none. */
  readonly read: (queueId: string) => Promise<T | undefined>;
  /** Longest a change may go unseen when no hint of it arrived. */
  readonly pollMs: number;
  readonly logger: Logger;
};

/** Follows jobs, however many readers a job has, with one read for each change. */
export type JobWatch<T> = {
  /** As `TenantQueue.watch`, by BullMQ's id. */
  follow(queueId: string, options?: { signal?: AbortSignal }): AsyncGenerator<T, void, void>;
  /** Reads a job again if somebody follows it: it may have changed. */
  hint(queueId: string): void;
  /** Ends every reader. Idempotent. */
  close(): void;
};

/** One followed job. */
type Followed<T> = {
  readers: number;
  /** Rises with each change of `latest`. */
  version: number;
  latest: T | undefined;
  failure: LoradropError | undefined;
  readonly changes: EventEmitter<{ change: [] }>;
  hint(): void;
  stop(): void;
};

/** Makes a {@link JobWatch}. */
export function createJobWatch<T extends JobRecord>({
  read,
  pollMs,
  logger,
}: JobWatchOptions<T>): JobWatch<T> {
  const followed = new Map<string, Followed<T>>();
  const closing = new AbortController();

  function start(id: string): Followed<T> {
    let reading = false;
    let again = false;
    let timer: NodeJS.Timeout | undefined;
    const job: Followed<T> = {
      readers: 0,
      version: 0,
      latest: undefined,
      failure: undefined,
      changes: new EventEmitter<{ change: [] }>().setMaxListeners(0),
      hint: () => void refresh(),
      stop: () => clearTimeout(timer),
    };
    const fail = (error: LoradropError) => {
      job.failure = error;
      job.changes.emit('change');
    };
    const refresh = async () => {
      if (reading) {
        // The read under way may have missed what this hint is about.
        again = true;
        return;
      }
      reading = true;
      clearTimeout(timer);
      try {
        do {
          again = false;
          const record = await read(id);
          if (!record) fail(queueErrors.notFound('It has never existed, or its time to be kept is over.'));
          else if (!isDeepStrictEqual(record, job.latest)) {
            job.latest = record;
            job.version++;
            job.changes.emit('change');
          }
        } while (again && job.readers > 0);
      } catch (error) {
        // An outage between two reads is the queue's to mend: whoever waits for a job goes on waiting.
        if (job.latest) logger.debug({ err: error, jobId: id }, 'a followed job could not be read');
        else
          fail(
            error instanceof LoradropError ? error : queueErrors.unavailable('The job could not be read.'),
          );
      } finally {
        reading = false;
        const over = job.latest !== undefined && isFinal(job.latest);
        if (job.readers > 0 && !over && !closing.signal.aborted) timer = setTimeout(refresh, pollMs);
      }
    };
    followed.set(id, job);
    job.hint();
    return job;
  }

  return {
    async *follow(id, { signal } = {}) {
      const ended = signal ? AbortSignal.any([signal, closing.signal]) : closing.signal;
      const job = followed.get(id) ?? start(id);
      job.readers++;
      try {
        let seen = 0;
        for (;;) {
          ended.throwIfAborted();
          if (job.latest && job.version > seen) {
            seen = job.version;
            const record = job.latest;
            yield record;
            // Not of `job.latest`: it may have become final while the reader was away, and is then still to be told.
            if (isFinal(record)) return;
          } else if (job.failure) throw job.failure;
          else await once(job.changes, 'change', { signal: ended }).catch(() => ended.throwIfAborted());
        }
      } finally {
        job.readers--;
        if (job.readers === 0) {
          job.stop();
          followed.delete(id);
        }
      }
    },
    hint: (id) => followed.get(id)?.hint(),
    close() {
      closing.abort(queueErrors.unavailable('The queue is closed.'));
      // Also those of readers that were left in mid-iteration, who will never come to see it.
      for (const job of followed.values()) job.stop();
    },
  };
}
