import type { PeftFiles } from '../adapter/peft-files.ts';
import { ADAPTER_CONFIG_FILE } from '../adapter/read-peft-config.ts';
import { ADAPTER_WEIGHTS_FILE } from '../adapter/verify.ts';
import { fileOf } from '../store/file-of.ts';
import type { StoredAdapter, TenantStore } from '../store/store.ts';

/** An adapter of the store as it is read. Errors: `adapter-not-found`, `store-unavailable`. */
export async function openStoredPeft(
  store: Pick<TenantStore, 'read'>,
  adapter: StoredAdapter,
  options: { signal?: AbortSignal } = {},
): Promise<PeftFiles> {
  const { id } = adapter;
  const config: Uint8Array[] = [];
  for await (const piece of await store.read(id, ADAPTER_CONFIG_FILE, options)) config.push(piece);
  return {
    config: Buffer.concat(config),
    weightBytes: fileOf(adapter, ADAPTER_WEIGHTS_FILE).bytes,
    openWeights: () => store.read(id, ADAPTER_WEIGHTS_FILE, options),
  };
}
