import type { TenantId } from '../base/ids.ts';
import { decodeCursor, encodeCursor } from './cursor.ts';
import type { JobIndex } from './job-index.ts';
import type { JobEnvelope, JobQuery, JobRecord } from './queue.ts';

/** Records read for one page of the list, at most: a rare status must not make one call read everything. */
const MAX_SCANNED = 500;
/** Records read at a time. Each holds the prompts of its job. */
const SCAN_BATCH = 50;

/** Where a list is read. */
export type ListSources<P extends JobEnvelope, R> = {
  readonly index: Pick<JobIndex, 'newest'>;
  readonly read: (job: TenantId) => Promise<JobRecord<P, R> | undefined>;
};

/** A page of a tenant's jobs, newest first (see `TenantQueue.list`). Errors: `cursor-invalid`. */
export async function listJobs<P extends JobEnvelope, R>(
  tenant: string,
  query: JobQuery,
  { index, read }: ListSources<P, R>,
): Promise<{ jobs: JobRecord<P, R>[]; nextCursor?: string }> {
  const jobs: JobRecord<P, R>[] = [];
  let before = query.cursor === undefined ? undefined : decodeCursor(tenant, query.cursor);
  for (let scanned = 0; jobs.length < query.limit && scanned < MAX_SCANNED; ) {
    const isFiltered = query.status || query.model || query.idPrefix;
    const limit = isFiltered ? SCAN_BATCH : Math.min(SCAN_BATCH, query.limit - jobs.length);
    const entries = await index.newest(tenant, { ...(before && { before }), limit });
    if (entries.length === 0) return { jobs };
    const { idPrefix = '' } = query;
    const records = await Promise.all(
      entries.map((entry) => (entry.id.startsWith(idPrefix) ? read(entry) : undefined)),
    );
    for (const [at, entry] of entries.entries()) {
      const record = records[at];
      before = entry;
      // An entry whose time is another's belongs to a submit that lost the race for its id.
      if (record?.payload.acceptedAt === entry.acceptedAt && matches(record, query)) jobs.push(record);
      if (jobs.length === query.limit) break;
    }
    scanned += entries.length;
  }
  const more = before && (await index.newest(tenant, { before, limit: 1 })).length > 0;
  return before && more ? { jobs, nextCursor: encodeCursor(before) } : { jobs };
}

function matches(record: JobRecord, { status, model }: JobQuery): boolean {
  return (!status || record.status === status) && (!model || record.payload.model === model);
}
