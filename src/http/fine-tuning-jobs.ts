/** Fine-tuning jobs of a tenant: finding and listing them, with what is kept beside their records. */
import { FINE_TUNING_PREFIX } from '../finetuning/ids.ts';
import { type FineTuningRecord, isFineTuning } from '../finetuning/present-job.ts';
import type { TenantGenerateQueue } from '../jobs/generate-queue.ts';
import { encodeCursor } from '../queue/cursor.ts';
import { queueErrors } from '../queue/errors.ts';
import type { JobStatus } from '../queue/queue.ts';

/** Pages of the queue that one listing reads, at most; each is bounded by itself. */
const MAX_PAGES = 20;
/** Jobs read at a time. */
const BATCH = 50;

type Queue = Pick<TenantGenerateQueue, 'find' | 'list'>;

/** The job with this id. Errors: `job-not-found`, `queue-unavailable`. */
export async function findFineTuning(queue: Queue, id: string): Promise<FineTuningRecord> {
  const record = await queue.find(id);
  if (!record || !isFineTuning(record)) throw queueErrors.notFound('No fine-tuning job has this id.');
  return record;
}

/** Which jobs are listed. */
export type FineTuningListing = {
  /** Those that are older than the job of this id. */
  readonly after?: string | undefined;
  readonly limit: number;
  readonly status?: JobStatus;
  /** Entries that a job's metadata have. */
  readonly metadata?: Readonly<Record<string, string>>;
};

/** Jobs, the newest first, and whether there are more. Errors: `cursor-invalid`, `queue-unavailable`. */
export async function listFineTuning(
  queue: Queue,
  { after, limit, status, metadata = {} }: FineTuningListing,
): Promise<{ readonly jobs: FineTuningRecord[]; readonly hasMore: boolean }> {
  const wanted = Object.entries(metadata);
  let cursor = after === undefined ? undefined : await cursorAfter(queue, after);
  const jobs: FineTuningRecord[] = [];
  for (let page = 0; page < MAX_PAGES; page++) {
    const found = await queue.list({
      idPrefix: FINE_TUNING_PREFIX,
      limit: BATCH,
      ...(status && { status }),
      ...(cursor !== undefined && { cursor }),
    });
    for (const record of found.jobs.filter(isFineTuning)) {
      if (wanted.some(([key, value]) => record.payload.metadata?.[key] !== value)) continue;
      if (jobs.length === limit) return { jobs, hasMore: true };
      jobs.push(record);
    }
    cursor = found.nextCursor;
    if (cursor === undefined) return { jobs, hasMore: false };
  }
  return { jobs, hasMore: jobs.length > 0 };
}

async function cursorAfter(queue: Queue, id: string): Promise<string> {
  const record = await queue.find(id);
  if (!record) throw queueErrors.badCursor('No job has the id in `after`.');
  return encodeCursor({ tenant: record.tenant, id, acceptedAt: record.payload.acceptedAt });
}
