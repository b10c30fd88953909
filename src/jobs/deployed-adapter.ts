import type { TenantId } from '../base/ids.ts';
import { commitOf } from '../store/commit.ts';
import type { AdapterStore } from '../store/store.ts';
import type { DeployPayload } from './catalog.ts';

/** True while the store has the very adapter of a deployment: it was not removed, and no other one has its id. */
export async function hasAdapter(
  store: Pick<AdapterStore, 'of'>,
  { tenant, payload }: Pick<TenantId, 'tenant'> & { readonly payload: DeployPayload },
): Promise<boolean> {
  const adapter = await store.of(tenant).find(payload.adapterId);
  return adapter !== undefined && commitOf(adapter) === payload.commit;
}
