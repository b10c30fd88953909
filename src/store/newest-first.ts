import type { StoredAt } from './store.ts';

/** Sorts adapters for lists that go on from page to page: the last stored first, those of one moment by their ids. */
export function compareNewest(p: StoredAt, q: StoredAt): number {
  return q.storedAt - p.storedAt || (p.id < q.id ? -1 : p.id > q.id ? 1 : 0);
}
