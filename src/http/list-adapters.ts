/** Pages of a tenant's adapters, the last stored first. */
import { decodeCursor, encodeCursor } from '../queue/cursor.ts';
import { compareNewest } from '../store/newest-first.ts';
import type { StoredAdapter, StoredAt, TenantStore } from '../store/store.ts';
import { type AdapterListQuery, type AdapterSummary, DEFAULT_PAGE } from './adapter-list-schemas.ts';
import { presentAdapter } from './present-adapter.ts';

/** Records read together. */
const BATCH = 20;
/** Most records read for one page: a filter that matches few must not read all that there are in one request. */
const MAX_READ = 400;

/** Where adapters are listed from. */
type Listing = {
  readonly tenant: string;
  readonly store: Pick<TenantStore, 'newest' | 'find' | 'location'>;
  readonly now: () => number;
};

/** A page, and the cursor of the next one where there may be more. Errors: `cursor-invalid`, `store-unavailable`. */
export async function listAdapters(
  { tenant, store, now }: Listing,
  { model, baseModel, cursor, limit = DEFAULT_PAGE }: AdapterListQuery,
): Promise<{ readonly adapters: AdapterSummary[]; readonly nextCursor?: string }> {
  const place = cursor === undefined ? undefined : placeOf(tenant, cursor);
  const left = (await store.newest()).filter((each) => !place || compareNewest(place, each) < 0);
  const adapters: AdapterSummary[] = [];
  for (let from = 0; from < Math.min(left.length, MAX_READ); from += BATCH) {
    const batch = left.slice(from, from + BATCH);
    const records = await Promise.all(batch.map(({ id }) => store.find(id)));
    for (const [index, record] of records.entries()) {
      if (!record || record.expiresAt <= now()) continue;
      const adapter = summaryOf(record, store.location(record.id));
      if (model !== undefined && adapter.model !== model) continue;
      if (baseModel !== undefined && adapter.baseModel !== baseModel) continue;
      adapters.push(adapter);
      const isLast = from + index + 1 === left.length;
      if (adapters.length === limit)
        return { adapters, ...(!isLast && { nextCursor: cursorOf(tenant, batch[index]!) }) };
    }
  }
  return { adapters, ...(left.length > MAX_READ && { nextCursor: cursorOf(tenant, left[MAX_READ - 1]!) }) };
}

function summaryOf(record: StoredAdapter, location: string): AdapterSummary {
  const {
    id,
    jobId,
    model,
    trained,
    dtype,
    name,
    baseModel,
    rank,
    alpha,
    files,
    createdAt,
    expiresAt,
    urls,
  } = presentAdapter(record, location);
  return {
    ...{ id, jobId, model, trained, dtype, baseModel, rank, alpha, createdAt, expiresAt },
    ...(name !== undefined && { name }),
    bytes: files.reduce((sum, { bytes }) => sum + bytes, 0),
    urls: { self: urls.self, job: urls.job },
  };
}

const cursorOf = (tenant: string, { id, storedAt }: StoredAt) =>
  encodeCursor({ tenant, id, acceptedAt: storedAt });

function placeOf(tenant: string, cursor: string): StoredAt {
  const { id, acceptedAt } = decodeCursor(tenant, cursor);
  return { id, storedAt: acceptedAt };
}
