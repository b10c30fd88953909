import type { TenantId } from '../base/ids.ts';
import type { BullQueue } from './backend.ts';
import type { JobIndex } from './job-index.ts';
import type { JobEnvelope, JobRecord } from './queue.ts';
import { toQueueId } from './stored-job.ts';

/** A record that expired while a worker held it, or with somebody still to be told, is looked at again after this long. */
const HELD_RETRY_MS = 60_000;

/** What {@link removeExpiredRecords} works with. */
export type ExpiredRecordsOptions<P extends JobEnvelope, R> = {
  readonly queue: BullQueue;
  readonly index: JobIndex;
  readonly read: (job: TenantId) => Promise<JobRecord<P, R> | undefined>;
  readonly beforeRemoval?: ((record: JobRecord<P, R>) => Promise<void>) | undefined;
  /** Milliseconds since the epoch: what ends before it has expired. */
  readonly time: number;
  /** Records looked at, at most. */
  readonly limit: number;
};

/** Removes job records whose retention is over (see `JobQueue.removeExpired`). */
export async function removeExpiredRecords<P extends JobEnvelope, R>(options: ExpiredRecordsOptions<P, R>) {
  const { queue, index, read, beforeRemoval, time, limit } = options;
  let removed = 0;
  const due = await index.due(time, limit);
  for (const entry of due) {
    const record = await read(entry);
    if (record?.payload.acceptedAt === entry.acceptedAt) {
      // Retention counts from the end; one that has not ended cannot expire sooner than if it ended now.
      const expiresAt = (record.finishedAt ?? time) + record.payload.retentionSeconds * 1000;
      if (expiresAt > time) {
        await index.postpone(entry, expiresAt);
        continue;
      }
      if ((await queue.getJobState(toQueueId(entry))) === 'active' || (await index.hasNotice(entry))) {
        await index.postpone(entry, time + HELD_RETRY_MS);
        continue;
      }
      await beforeRemoval?.(record);
      await (await queue.getJob(toQueueId(entry)))?.remove();
      removed++;
    }
    await index.remove(entry);
  }
  return { removed, more: due.length === limit };
}
