/** Content and records for tests of stores; without the test library, so that child processes can use it. */
import { sha256 } from '../../src/base/digest.ts';
import type { StoredAdapter } from '../../src/store/store.ts';

/** `length` bytes with a pattern that `seed` shifts and no chunk size divides. */
export function patternBytes(length: number, seed = 0): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => (index * 7 + (index >> 8) + seed) % 251);
}

/** Fields of a record for an adapter whose content does not matter. */
export function sampleRecord(
  change: Partial<Omit<StoredAdapter, 'id' | 'files'>> = {},
): Omit<StoredAdapter, 'id' | 'files'> {
  return {
    createdAt: 1_000,
    expiresAt: 2_000,
    contentKey: sha256('content'),
    info: { model: 'tiny', nested: { list: [1, 'two', null] } },
    ...change,
  };
}
