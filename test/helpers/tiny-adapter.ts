/** Adapters of the tiny base, in a store. */
import { peftConfig } from '../../src/adapter/peft-config.ts';
import { ADAPTER_CONFIG_FILE } from '../../src/adapter/read-peft-config.ts';
import { writeSafetensors } from '../../src/adapter/safetensors.ts';
import { ADAPTER_WEIGHTS_FILE } from '../../src/adapter/verify.ts';
import { sha256 } from '../../src/base/digest.ts';
import type { LoraLayout } from '../../src/lora/layout.ts';
import { loraTensors } from '../../src/lora/tensors.ts';
import type { StoredAdapter, TenantStore } from '../../src/store/store.ts';
import { TINY_BASE_ID } from './tiny-base.ts';
import { TINY_BASE, TINY_LAYOUT, tinyAdapter } from './tiny-llama.ts';

/** What another adapter than the usual one is. */
export type TinyAdapterOptions = {
  readonly baseModel?: string;
  readonly layout?: LoraLayout;
  /** In the order of `loraTensors`. */
  readonly matrices?: readonly Float32Array[];
};

/** Publishes an adapter of the tiny base. */
export async function publishTinyAdapter(
  store: Pick<TenantStore, 'draft'>,
  id: string,
  { baseModel = TINY_BASE_ID, layout = TINY_LAYOUT, matrices = tinyAdapter(5) }: TinyAdapterOptions = {},
): Promise<StoredAdapter> {
  const tensors = loraTensors(layout);
  const draft = await store.draft(id);
  await draft.write(ADAPTER_WEIGHTS_FILE, writeSafetensors(tensors, matrices, { dtype: 'f32' }));
  await draft.write(ADAPTER_CONFIG_FILE, [peftConfig({ id: baseModel }, layout)]);
  const { architecture, heads, kvHeads } = TINY_BASE;
  return draft.publish({
    createdAt: Date.now(),
    expiresAt: Date.now() + 600_000,
    contentKey: sha256(
      Buffer.concat([Buffer.from(id), ...matrices.map(({ buffer }) => Buffer.from(buffer))]),
    ),
    info: {
      jobId: id,
      index: 0,
      model: 'tiny',
      bundleDigest: sha256(Buffer.from('bundle')),
      trained: false,
      baseModel,
      architecture,
      heads: { heads, kvHeads },
      dtype: 'f32',
      rank: layout.rank,
      alpha: layout.alpha,
      device: 'cpu',
      seed: 1,
      tensors: tensors.length,
      parameters: 1,
      promptDigests: [],
    },
  });
}
