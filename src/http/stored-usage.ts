import type { Caller } from '../access/caller.ts';
import { accessErrors } from '../access/errors.ts';
import type { StoreUsage, TenantStore } from '../store/store.ts';

/** How long a count is taken for true. Counting looks at every adapter of the tenant, so it is not done for each request. */
const MAX_AGE_MS = 10_000;
/** Whoever is at the bound has to delete something or wait for an expiry, neither of which takes seconds. */
const RETRY_AFTER_S = 60;

/** A store as far as it counts. */
type UsageSource = { of(tenant: string): Pick<TenantStore, 'usage'> };

/** Most uploaded files of a tenant: a listing reads each of them, and people have a handful. */
export const MAX_FILES = 1000;

/** What a tenant has: adapters, uploaded files, and bytes of both. */
type Stored = StoreUsage & { readonly files: number };

/** What tenants have in the stores. */
export type StoredUsage = {
  /** At most ten seconds old. */
  of(tenant: string): Promise<Stored>;
  /**
   * Refuses the upload of a caller that has as much as it may, within the ten seconds of a count. Errors: `quota-files-exceeded`,
   * `quota-stored-bytes-exceeded`.
   */
  refuseFileWhenFull(caller: Caller): Promise<void>;
  /**
   * Refuses a caller that has as much as it may. Jobs that were accepted before and make adapters meanwhile can exceed the
   * bound, by as many as may wait and run. Errors: `quota-adapters-exceeded`, `quota-stored-bytes-exceeded`.
   */
  refuseWhenFull(caller: Caller): Promise<void>;
};

/** Makes {@link StoredUsage}. */
export function createStoredUsage(
  { store, files }: { readonly store: UsageSource; readonly files: UsageSource },
  now: () => number = Date.now,
): StoredUsage {
  const counts = new Map<string, { readonly at: number; readonly usage: Promise<Stored> }>();
  const later = { retryAfterSeconds: RETRY_AFTER_S };

  async function count(tenant: string): Promise<Stored> {
    const [made, uploaded] = await Promise.all([store.of(tenant).usage(), files.of(tenant).usage()]);
    return { adapters: made.adapters, files: uploaded.adapters, bytes: made.bytes + uploaded.bytes };
  }

  function of(tenant: string): Promise<Stored> {
    const known = counts.get(tenant);
    if (known && now() - known.at < MAX_AGE_MS) return known.usage;
    const usage = count(tenant);
    counts.set(tenant, { at: now(), usage });
    usage.catch(() => counts.delete(tenant));
    return usage;
  }

  function refuseBytes(bytes: number, most: number | undefined): void {
    if (most !== undefined && bytes >= most) {
      throw accessErrors.bytesFull(`${bytes} bytes are stored; ${most} may be.`, later);
    }
  }

  return {
    of,
    async refuseFileWhenFull({ tenant, limits }) {
      const { files: found, bytes } = await of(tenant);
      if (found >= MAX_FILES) throw accessErrors.filesFull(`${MAX_FILES} files are the limit.`, later);
      refuseBytes(bytes, limits.storedBytes);
    },
    async refuseWhenFull({ tenant, limits }) {
      const { adapters: mostAdapters, storedBytes: mostBytes } = limits;
      if (mostAdapters === undefined && mostBytes === undefined) return;
      const { adapters, bytes } = await of(tenant);
      if (mostAdapters !== undefined && adapters >= mostAdapters) {
        throw accessErrors.adaptersFull(`${adapters} adapters are stored; ${mostAdapters} may be.`, later);
      }
      refuseBytes(bytes, mostBytes);
    },
  };
}
