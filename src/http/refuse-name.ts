import { accessErrors } from '../access/errors.ts';
import { MAX_NAMES } from '../store/names.ts';
import type { TenantStore } from '../store/store.ts';
import { httpErrors } from './errors.ts';

/** Whoever has as many names as may be has to delete some, which takes a person. */
const RETRY_AFTER_S = 60;

/**
 * Refuses a name that there is not yet and that cannot be made. `pointer` is the field that has it. Errors: `name-taken`,
 * `quota-names-exceeded`, `store-unavailable`.
 */
export async function refuseName(
  name: string,
  store: Pick<TenantStore, 'find' | 'names'>,
  pointer: string,
): Promise<void> {
  if (await store.names.find(name)) return;
  // A repository is looked for by name first, so what is known under the adapter's id would become another adapter.
  if (await store.find(name)) {
    throw httpErrors.nameTaken('An adapter has this id, and its repository is known under it.', {
      fields: [{ pointer, message: 'is the id of an adapter' }],
    });
  }
  if (!(await store.names.hasRoom())) {
    throw accessErrors.namesFull(`A tenant has at most ${MAX_NAMES} names.`, {
      retryAfterSeconds: RETRY_AFTER_S,
    });
  }
}
