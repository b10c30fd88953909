import type { TenantStore } from '../store/store.ts';
import { LOCK_LOST } from './run-job.ts';

/**
 * A tenant's store as one run of a job sees it: nothing shows that the run would publish once its job has ended. A worker that was
 * asleep may come back when another has ended the job and the client has deleted the adapter, which would be there
 * again with nobody to know of it. Such a publication rejects with {@link LOCK_LOST}.
 */
export function storeOfRun(store: TenantStore, isOver: () => Promise<boolean>): TenantStore {
  const check = async () => {
    // With the queue away nobody knows. Then what is published expires like any other.
    if (await isOver().catch(() => false)) throw LOCK_LOST;
  };
  return {
    ...store,
    draft: (id) => store.draft(id, { check }),
    copy: (source, id, facts) => store.copy(source, id, facts, { check }),
  };
}
