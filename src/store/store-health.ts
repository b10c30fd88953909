import { LoradropError } from '../base/errors.ts';
import { storeErrors } from './errors.ts';
import type { AdapterStore } from './store.ts';

/** Whether adapters can be stored now. */
export type StoreHealth = {
  /**
   * Resolves when there is room for an adapter; at most two seconds old. Errors: `store-full`, `store-unavailable`.
   */
  check(): Promise<void>;
};

/** A store that fails is asked by every probe, request and worker at once; more often would only add to its load. */
const MAX_AGE_MS = 2_000;
/** Expired adapters that are removed at once when room is short. */
const BATCH = 100;

/**
 * Makes {@link StoreHealth}. When room is short the adapters whose retention is over go first, ahead of the clock that
 * removes them otherwise.
 */
export function createStoreHealth(
  store: Pick<AdapterStore, 'ready' | 'expired' | 'of'>,
  options: {
    /** Bytes of the largest adapter that is made here. */
    readonly bytes: () => number;
    readonly now?: () => number;
  },
): StoreHealth {
  const { bytes, now = Date.now } = options;
  let last: { readonly at: number; readonly outcome: Promise<void> } | undefined;

  async function makeRoom(): Promise<boolean> {
    const names = await store.expired(now(), BATCH);
    const removed = await Promise.all(names.map(({ tenant, id }) => store.of(tenant).remove(id)));
    return removed.some(Boolean);
  }

  async function look(): Promise<void> {
    for (;;) {
      try {
        return await store.ready({ bytes: bytes() });
      } catch (error) {
        const full = error instanceof LoradropError && error.code === storeErrors.full.spec.code;
        // What cannot be cleaned up leaves the store as full as it was.
        if (!full || !(await makeRoom().catch(() => false))) throw error;
      }
    }
  }

  return {
    check() {
      if (!last || now() - last.at >= MAX_AGE_MS) {
        last = { at: now(), outcome: look() };
        last.outcome.catch(() => undefined);
      }
      return last.outcome;
    },
  };
}
