import type { Sha256 } from '../base/digest.ts';
import { LoradropError } from '../base/errors.ts';
import { storeErrors } from '../store/errors.ts';
import type { AdapterFacts, StoredAdapter, TenantStore } from '../store/store.ts';

/** Publishes `id` as a copy of an adapter with the same content, if the store has one. Errors: those of the store. */
export async function copyEqual(
  store: TenantStore,
  id: string,
  contentKey: Sha256,
  recordOf: (equal: StoredAdapter) => AdapterFacts,
): Promise<StoredAdapter | undefined> {
  const equal = await store.findByContent(contentKey);
  if (!equal) return undefined;
  try {
    return await store.copy(equal, id, recordOf(equal));
  } catch (error) {
    // Removed since it was found: the adapter is made anew.
    if (error instanceof LoradropError && error.code === storeErrors.notFound.spec.code) return undefined;
    throw error;
  }
}
