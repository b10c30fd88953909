import { commitOf } from '../store/commit.ts';
import { storeErrors } from '../store/errors.ts';
import type { TenantStore } from '../store/store.ts';
import type { GeneratePayload } from './catalog.ts';

/**
 * Makes the name that a job's request asked for stand for the job's adapter. A job that is run again does not set it
 * again, since the name may stand for a newer adapter by then. Errors: `adapter-not-found`, `store-unavailable`.
 */
export async function setRequestedName(
  { setName, adapterIds: [id] }: Pick<GeneratePayload, 'setName' | 'adapterIds'>,
  store: Pick<TenantStore, 'find' | 'names'>,
): Promise<void> {
  if (setName === undefined || id === undefined) return;
  const adapter = await store.find(id);
  if (!adapter) throw storeErrors.notFound('The adapter was deleted before its name was set.');
  const commit = commitOf(adapter);
  const known = await store.names.find(setName);
  if (known?.history.some((each) => each.commit === commit)) return;
  await store.names.set(setName, adapter);
}
