/** Stored adapters → one that is made of them, in the store. */
import { conversionKey, STORED_GGUF_DTYPE } from '../adapter/convert-gguf.ts';
import type { GgufTarget } from '../adapter/gguf-architecture.ts';
import type { TransformRecord, TransformStep } from '../arithmetic/steps.ts';
import { transformAdapters } from '../arithmetic/transform.ts';
import { sha256Json } from '../base/digest.ts';
import type { Dtype } from '../base/dtype.ts';
import type { AdapterFacts, StoredAdapter, TenantStore } from '../store/store.ts';
import type { AdapterInfo } from './adapter-info.ts';
import { copyEqual } from './copy-equal.ts';
import { openStoredPeft } from './stored-peft.ts';
import { writeAdapterFiles } from './write-adapter-files.ts';

/** Raised whenever the same adapters and steps would give other bytes than before. */
const ARITHMETIC_VERSION = 1;

/** An adapter and what it is multiplied with. */
export type WeightedAdapter = { readonly adapter: StoredAdapter; readonly weight: number };

/** What is to be made. */
export type TransformTask = {
  readonly id: string;
  readonly sources: readonly WeightedAdapter[];
  readonly steps: readonly TransformStep[];
  /** Absent: that of the first source. */
  readonly dtype?: Dtype;
  /** Given where the adapter is to be kept as GGUF, too: what it is for. */
  readonly gguf?: GgufTarget;
  readonly times: Pick<AdapterFacts, 'createdAt' | 'expiresAt'>;
  /** What the record says beside what comes out of the transform. */
  readonly info: Omit<AdapterInfo, 'rank' | 'alpha' | 'dtype' | 'tensors' | 'parameters' | 'transform'>;
  /** What it says of how the adapter came about. */
  readonly origin: Omit<TransformRecord, 'steps' | 'energyKept'>;
};

/**
 * Publishes the task's adapter: kept from an earlier run, copied from an equal one, or worked out. Errors: `transform-unfit`
 * and the others of adapter arithmetic, those of a conversion to GGUF, those of the store.
 */
export async function transformAdapter(
  store: TenantStore,
  task: TransformTask,
  options: { signal?: AbortSignal; onProgress?: (fraction: number) => void } = {},
): Promise<{ readonly stored: StoredAdapter; readonly fromStore: boolean }> {
  const { id, sources, steps, dtype, gguf, times, info, origin } = task;
  const key = sha256Json({
    arithmetic: ARITHMETIC_VERSION,
    sources: sources.map(({ adapter, weight }) => [adapter.contentKey, weight]),
    steps,
    dtype: dtype ?? null,
    ...(gguf && { gguf: conversionKey({ target: gguf, dtype: STORED_GGUF_DTYPE }) }),
  });
  const earlier = await store.find(id);
  if (earlier?.contentKey === key) return { stored: earlier, fromStore: true };

  const copied = await copyEqual(store, id, key, (equal) => {
    const { rank, alpha, dtype: itsDtype, tensors, parameters, transform } = equal.info as AdapterInfo;
    const record = { ...origin, steps: [...steps], energyKept: transform?.energyKept ?? 1 };
    return {
      ...times,
      contentKey: key,
      info: { ...info, rank, alpha, dtype: itsDtype, tensors, parameters, transform: record },
    };
  });
  if (copied) return { stored: copied, fromStore: true };

  const reading = options.signal ? { signal: options.signal } : {};
  const read = await Promise.all(
    sources.map(async ({ adapter, weight }) => ({
      ...(await openStoredPeft(store, adapter, reading)),
      weight,
    })),
  );
  const { report, config, weights, weightBytes } = await transformAdapters(read, steps, {
    ...options,
    ...(dtype && { dtype }),
  });
  const draft = await store.draft(id);
  try {
    await writeAdapterFiles(
      (name, content) => draft.write(name, content, options),
      { weights: weights(), weightBytes, config, ...(gguf && { gguf }) },
      options,
    );
    const { rank, alpha, dtype: itsDtype, tensors, parameters, energyKept } = report;
    const record = { ...origin, steps: [...steps], energyKept };
    const stored = await draft.publish({
      ...times,
      contentKey: key,
      info: { ...info, rank, alpha, dtype: itsDtype, tensors, parameters, transform: record },
    });
    return { stored, fromStore: false };
  } finally {
    await draft.discard();
  }
}
