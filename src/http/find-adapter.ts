import { storeErrors } from '../store/errors.ts';
import type { StoredAdapter, TenantStore } from '../store/store.ts';

/** The adapter with this id, unless its retention is over. Errors: `adapter-not-found`, `store-unavailable`. */
export async function findAdapter(
  store: Pick<TenantStore, 'find'>,
  id: string,
  now: () => number,
): Promise<StoredAdapter> {
  const adapter = await store.find(id);
  // Removal comes a little after the end of the retention; clients should not see that.
  if (!adapter || adapter.expiresAt <= now()) throw storeErrors.notFound('No adapter has this id.');
  return adapter;
}
