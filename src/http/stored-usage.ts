import type { Caller } from '../access/caller.ts';
import { accessErrors } from '../access/errors.ts';
import type { StoreUsage, TenantStore } from '../store/store.ts';

/** How long a count is taken for true. Counting looks at every adapter of the tenant, so it is not done for each request. */
const MAX_AGE_MS = 10_000;
/** Whoever is at the bound has to delete something or wait for an expiry, neither of which takes seconds. */
const RETRY_AFTER_S = 60;

/** A store as far as it counts. */
type UsageSource = { of(tenant: string): Pick<TenantStore, 'usage'> };

/** What tenants have in the store. */
export type StoredUsage = {
  /** At most ten seconds old. */
  of(tenant: string): Promise<StoreUsage>;
  /**
   * Refuses a caller that has as much as it may. Jobs that were accepted before and make adapters meanwhile can exceed the
   * bound, by as many as may wait and run. Errors: `quota-adapters-exceeded`, `quota-stored-bytes-exceeded`.
   */
  refuseWhenFull(caller: Caller): Promise<void>;
};

/** Makes {@link StoredUsage}. */
export function createStoredUsage(store: UsageSource, now: () => number = Date.now): StoredUsage {
  const counts = new Map<string, { readonly at: number; readonly usage: Promise<StoreUsage> }>();

  function of(tenant: string): Promise<StoreUsage> {
    const known = counts.get(tenant);
    if (known && now() - known.at < MAX_AGE_MS) return known.usage;
    const usage = store.of(tenant).usage();
    counts.set(tenant, { at: now(), usage });
    usage.catch(() => counts.delete(tenant));
    return usage;
  }

  return {
    of,
    async refuseWhenFull({ tenant, limits }) {
      const { adapters: mostAdapters, storedBytes: mostBytes } = limits;
      if (mostAdapters === undefined && mostBytes === undefined) return;
      const { adapters, bytes } = await of(tenant);
      const later = { retryAfterSeconds: RETRY_AFTER_S };
      if (mostAdapters !== undefined && adapters >= mostAdapters) {
        throw accessErrors.adaptersFull(`${adapters} adapters are stored; ${mostAdapters} may be.`, later);
      }
      if (mostBytes !== undefined && bytes >= mostBytes) {
        throw accessErrors.bytesFull(`${bytes} bytes are stored; ${mostBytes} may be.`, later);
      }
    },
  };
}
