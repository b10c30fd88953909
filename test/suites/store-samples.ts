/** Content and records for tests of stores; without the test library, so that child processes can use it. */
import { sha256 } from '../../src/base/digest.ts';
import { DEFAULT_TENANT } from '../../src/base/ids.ts';
import type { AdapterFacts, AdapterStore, TenantStore } from '../../src/store/store.ts';

/** The default tenant's part of a store, which most tests are about, with what is the whole store's. */
export type DefaultStore = TenantStore &
  Pick<AdapterStore, 'ready' | 'close'> & {
    readonly all: AdapterStore;
    /** Ids alone. */
    expired(now: number, limit: number): Promise<string[]>;
  };

/** Makes a {@link DefaultStore}. */
export function defaultStore(store: AdapterStore): DefaultStore {
  return {
    ...store.of(DEFAULT_TENANT),
    all: store,
    expired: async (now, limit) => (await store.expired(now, limit)).map(({ id }) => id),
    ready: () => store.ready(),
    close: () => store.close(),
  };
}

/** `length` bytes with a pattern that `seed` shifts and no chunk size divides. */
export function patternBytes(length: number, seed = 0): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => (index * 7 + (index >> 8) + seed) % 251);
}

/** Fields of a record for an adapter whose content does not matter. */
export function sampleRecord(change: Partial<AdapterFacts> = {}): AdapterFacts {
  return {
    createdAt: 1_000,
    expiresAt: 2_000,
    contentKey: sha256('content'),
    info: { model: 'tiny', nested: { list: [1, 'two', null] } },
    ...change,
  };
}
