import { findBase, type KnownBase } from '../../../lora/bases.ts';
import { openEncoderForSynthetic } from '../encoder/synthetic-encoder.ts';
import type { ImportOptions } from '../import-options.ts';
import type { Hypernetwork } from './hypernetwork.ts';
import type { T2lCheckpoint } from './open-checkpoint.ts';
import type { T2lPreset } from './presets.ts';
import { syntheticHypernetwork } from './synthetic-hypernetwork.ts';

/** What {@link importCheckpoint} needs of random weights; disposing removes the encoder that was drawn. */
export type SyntheticT2l = AsyncDisposable &
  Pick<ImportOptions, 'base' | 'encoderDirectory' | 'licence' | 'provenance'> & {
    readonly checkpoint: T2lCheckpoint;
    readonly trained: false;
  };

/**
 * Random weights of a preset's size, as the source of an import that is marked untrained. Where no encoder is given, one
 * with random weights is drawn into a temporary directory. The same bytes for a seed on every machine.
 */
export async function openSyntheticT2l(
  preset: T2lPreset,
  options: {
    /** 0…4294967295. */
    readonly seed: number;
    readonly encoderDirectory?: string;
  },
): Promise<SyntheticT2l> {
  const { seed } = options;
  const base = findBase(preset.base)!;
  const shared: Omit<SyntheticT2l, 'encoderDirectory' | 'provenance' | typeof Symbol.asyncDispose> = {
    checkpoint: {
      stateDict: syntheticHypernetwork(presetHypernetwork(preset, base), seed),
      args: { training_task: 'sft', emb_model: 'gte' },
      config: {
        peft_type: 'LORA',
        r: preset.rank,
        lora_alpha: preset.alpha,
        use_rslora: true,
        target_modules: [...preset.modules],
        base_model_name_or_path: base.id,
      },
    },
    base: base.id,
    trained: false,
    licence: { text: 'Apache-2.0', commercialUse: true },
  };
  const { encoder } = preset;
  const own = await openEncoderForSynthetic(options.encoderDirectory, { encoder, seed });
  return {
    ...shared,
    encoderDirectory: own.directory,
    provenance: own.provenance('Hypernetwork'),
    [Symbol.asyncDispose]: () => own[Symbol.asyncDispose](),
  };
}

/** The hypernetwork of a preset. */
export function presetHypernetwork(preset: T2lPreset, { layout }: KnownBase): Hypernetwork {
  const { latent, headIn, rank, modules } = preset;
  const inner = 4 * latent;
  return {
    width: preset.encoder.width,
    layers: layout.layers,
    rank,
    parts: [latent / 2, latent / 4, latent / 4],
    inner: { mixer: inner, mlp1: inner, mlp2: inner, mlp3: inner },
    headIn,
    modules: modules.map((name) => {
      const { in: columns, out } = layout.modules.find(({ path }) => path.endsWith(`.${name}`))!;
      return { name, in: columns, out };
    }),
    headBias: true,
    sharedHead: false,
    scale: { kind: 'direct' },
    offset: false,
  };
}
