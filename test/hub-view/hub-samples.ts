/** Adapters whose records are whole, for tests of the Hub view. */
import { newApiKey } from '../../src/access/api-key.ts';
import { createAuthenticate } from '../../src/access/authenticate.ts';
import { sha256 } from '../../src/base/digest.ts';
import type { AdapterInfo } from '../../src/jobs/adapter-info.ts';
import type { StoredAdapter, TenantStore } from '../../src/store/store.ts';
import { patternBytes } from '../suites/store-samples.ts';

/** A key that reads what is a tenant's, and what lets it in and nobody else. */
export function readerOf(tenant: string) {
  const key = newApiKey();
  const entry = { name: 'reader', tenant, scopes: ['read' as const], sha256: '', createdAt: '2026-01-01' };
  const authenticate = createAuthenticate({
    keys: { guarded: true, find: (given) => (given === key ? entry : undefined) },
    limits: {},
  });
  return { key, authenticate };
}

/** What is noted of an adapter. */
export function sampleInfo(change: Partial<AdapterInfo> = {}): AdapterInfo {
  return {
    jobId: 'job_1',
    index: 0,
    model: 'tiny',
    bundleDigest: sha256('bundle'),
    trained: true,
    dtype: 'bf16',
    device: 'cpu',
    seed: 7,
    tensors: 2,
    parameters: 16,
    baseModel: 'test/base',
    rank: 2,
    alpha: 4,
    promptDigests: [sha256('one'), sha256('two'), sha256('one')],
    ...change,
  };
}

/** Publishes an adapter whose files are no real ones unless they are given: for tests of their transport. */
export async function publishAdapter(
  store: Pick<TenantStore, 'draft'>,
  id: string,
  {
    weights = patternBytes(5000, id.length),
    config = new TextEncoder().encode(`{"peft_type":"LORA","id":"${id}"}\n`),
    info = {},
    expiresAt = Date.now() + 600_000,
  }: { weights?: Uint8Array; config?: Uint8Array; info?: Partial<AdapterInfo>; expiresAt?: number } = {},
): Promise<StoredAdapter> {
  const draft = await store.draft(id);
  await draft.write('adapter_model.safetensors', [weights]);
  await draft.write('adapter_config.json', [config]);
  return await draft.publish({
    createdAt: Date.now(),
    expiresAt,
    contentKey: sha256(id),
    info: sampleInfo(info),
  });
}
