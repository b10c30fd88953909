/** A bundle with random weights of real sizes, for tests and benchmarks. */
import type { Bundle } from '../../src/models/bundle.ts';
import { openSynthetic } from '../../src/models/import/dnd/open-synthetic.ts';
import { SMALL_PRESET } from '../../src/models/import/dnd/presets.ts';
import { importCheckpoint } from '../../src/models/import/import-checkpoint.ts';

/** What clients name in `model`. */
export const UNTRAINED_BUNDLE_ID = 'smollm2-135m-untrained';

/**
 * Builds a small bundle with random weights for SmolLM2-135M-Instruct: real graphs, tokenizer and sizes, through the same
 * import as a trained checkpoint. The files are the same bytes for a seed on every machine. `out` must not exist.
 */
export async function buildUntrainedBundle(options: {
  out: string;
  /** 0…4294967295. */
  seed: number;
  signal?: AbortSignal;
}): Promise<Bundle> {
  await using source = await openSynthetic(SMALL_PRESET, options);
  return await importCheckpoint({
    ...source,
    out: options.out,
    id: UNTRAINED_BUNDLE_ID,
    title: 'SmolLM2 135M, untrained',
    description: 'Untrained: valid files, random effect.',
    ...(options.signal ? { signal: options.signal } : {}),
  });
}
