/** Several samples of one request → what is kept of them. */
import type { PeftFiles } from '../adapter/peft-files.ts';
import { parsePeftConfig } from '../adapter/read-peft-config.ts';
import { spreadOfSamples } from './distances.ts';
import type { Keep, TransformStep } from './steps.ts';

/** A sum of samples, and the steps that make it what is kept. */
export type Kept = {
  /** Which samples are added, and what each is multiplied with. */
  readonly terms: readonly { readonly sample: number; readonly weight: number }[];
  readonly steps: readonly TransformStep[];
  /** How far each sample is from the mean; see `SampleSpread`. */
  readonly fromMean: readonly number[];
};

/** Decides what is kept: the sample nearest to the mean, or the mean at the rank of one sample. Errors: those of reading. */
export async function chooseKept(
  samples: readonly PeftFiles[],
  keep: Keep,
  options: { signal?: AbortSignal } = {},
): Promise<Kept> {
  const { central, fromMean } = await spreadOfSamples(samples, options);
  if (keep === 'central') return { terms: [{ sample: central, weight: 1 }], steps: [], fromMean };
  const { r: rank } = parsePeftConfig(samples[0]!.config);
  const weight = 1 / samples.length;
  return {
    terms: samples.map((_, sample) => ({ sample, weight })),
    steps: [{ type: 'rank', to: rank }],
    fromMean,
  };
}
