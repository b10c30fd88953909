import type { StateDict } from '../checkpoint/state-dict.ts';
import { openEncoderForSynthetic } from '../encoder/synthetic-encoder.ts';
import type { ImportOptions } from '../import-options.ts';
import { type Preset, presetArchitecture, presetBase } from './presets.ts';
import { syntheticStateDict } from './synthetic-state-dict.ts';

/** What {@link importCheckpoint} needs of random weights; disposing removes the encoder that was drawn. */
export type SyntheticSource = AsyncDisposable &
  Pick<ImportOptions, 'base' | 'encoderDirectory' | 'licence' | 'provenance' | 'fullyMaskedAttention'> & {
    readonly checkpoint: StateDict;
    readonly trained: false;
  };

/**
 * Random weights of a preset's size, as the source of an import that is marked untrained. Where no encoder is given, one
 * with random weights is drawn into a temporary directory. The same bytes for a seed on every machine.
 */
export async function openSynthetic(
  preset: Preset,
  options: {
    /** 0…4294967295. */
    seed: number;
    encoderDirectory?: string;
  },
): Promise<SyntheticSource> {
  const { seed } = options;
  const base = presetBase(preset);
  const shared = {
    checkpoint: syntheticStateDict(presetArchitecture(preset), base.layout, seed),
    base: base.id,
    trained: false,
    licence: { text: 'Apache-2.0', commercialUse: true },
  } as const;
  const { encoder } = preset;
  const own = await openEncoderForSynthetic(options.encoderDirectory, { encoder, seed });
  return {
    ...shared,
    encoderDirectory: own.directory,
    provenance: own.provenance('Decoder'),
    ...(own.drawn && { fullyMaskedAttention: 'uniform' as const }),
    [Symbol.asyncDispose]: () => own[Symbol.asyncDispose](),
  };
}
