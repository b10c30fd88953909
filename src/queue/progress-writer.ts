import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '../observability/logger.ts';
import type { StoredBullJob } from './backend.ts';
import { readProgress } from './job-record.ts';
import type { JobProgress } from './queue.ts';

/** Shortest time between two writes of a job's progress: as often as an eye follows, however often a handler reports. */
const WRITE_PAUSE_MS = 200;

/** Writes a job's progress behind the handler's back. */
export type ProgressWriter = {
  /** Takes note; the latest note within the pause is the one that is written. */
  report(progress: Omit<JobProgress, 'sequence'>): void;
  /** Writes the last note and ends. */
  close(): Promise<void>;
};

/**
 * Makes a {@link ProgressWriter} that numbers on from the last progress written, so that numbers rise over retries. A
 * failed write is logged and forgotten: progress is not worth a job.
 */
export function createProgressWriter(job: StoredBullJob, logger: Logger): ProgressWriter {
  const closing = new AbortController();
  let { sequence } = readProgress(job);
  let next: JobProgress | undefined;
  let writing: Promise<void> | undefined;

  async function write(): Promise<void> {
    while (next) {
      const progress = next;
      next = undefined;
      await job
        .updateProgress(progress)
        .catch((error) => logger.warn({ err: error }, 'progress could not be written'));
      await delay(WRITE_PAUSE_MS, undefined, { signal: closing.signal }).catch(() => undefined);
    }
    writing = undefined;
  }
  return {
    report(progress) {
      if (closing.signal.aborted) return;
      next = { ...progress, sequence: ++sequence };
      writing ??= write();
    },
    async close() {
      closing.abort();
      await writing;
    },
  };
}
