import type { Bundle } from './bundle.ts';
import { importCheckpoint } from './import/import-checkpoint.ts';
import { openSynthetic } from './import/open-synthetic.ts';
import { UNTRAINED_PRESET } from './import/presets.ts';

/** What clients name in `model`. */
const UNTRAINED_BUNDLE_ID = 'smollm2-135m-untrained';

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
  await using source = await openSynthetic(UNTRAINED_PRESET, options);
  return await importCheckpoint({
    ...source,
    out: options.out,
    id: UNTRAINED_BUNDLE_ID,
    title: 'SmolLM2 135M, untrained',
    description:
      'Untrained: valid files, random effect. Encoder and decoder have random weights, so that the whole path can be ' +
      'tried at real sizes before a trained checkpoint is there.',
    ...(options.signal ? { signal: options.signal } : {}),
  });
}
