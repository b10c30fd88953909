/** Real but tiny Text-to-LoRA bundles: imported from a checkpoint of random numbers and a small encoder. */
import { join } from 'node:path';
import { importCheckpoint } from '../../../../src/models/import/import-checkpoint.ts';
import type { BaseLayout, ImportOptions } from '../../../../src/models/import/import-options.ts';
import { IMPORT_FACTS } from '../../small-bundle.ts';
import { writeRotaryEncoder } from './rotary-encoder.ts';
import { SIZES, smallHypernetwork, VARIANTS, WIDTHS, writeT2lCheckpoint } from './small-checkpoint.ts';

/** A base for the small checkpoints, with a module that they do not target. */
export const T2L_BASE: BaseLayout = {
  id: 'example/tiny',
  architecture: 'mistral',
  heads: { heads: 3, kvHeads: 1 },
  layout: {
    rank: SIZES.rank,
    alpha: 8,
    layers: SIZES.layers,
    layerPath: 'model.layers',
    modules: [
      { path: 'self_attn.q_proj', ...WIDTHS.q_proj },
      { path: 'self_attn.k_proj', in: 12, out: 6 },
      { path: 'self_attn.v_proj', ...WIDTHS.v_proj },
    ],
  },
};

/** Imports a variant below a directory; returns the bundle, and what the reference needs. */
export async function importSmallT2l(
  directory: string,
  options: Partial<Omit<ImportOptions, 'checkpoint'>> & {
    readonly variant?: string;
    readonly order?: Parameters<typeof smallHypernetwork>[1];
  } = {},
) {
  const { variant: name = 'sft', order, ...others } = options;
  const variant = VARIANTS[name]!;
  const reference = smallHypernetwork(variant, order);
  const checkpoint = join(directory, 'checkpoint');
  await writeT2lCheckpoint(checkpoint, reference.tensors, variant.args);
  const encoderDirectory = options.encoderDirectory ?? join(directory, 'gte');
  if (!options.encoderDirectory) await writeRotaryEncoder(encoderDirectory, SIZES.width);
  const notes: string[] = [];
  const bundle = await importCheckpoint({
    ...IMPORT_FACTS,
    base: T2L_BASE,
    id: 'tiny-t2l',
    onNote: (note) => notes.push(note),
    ...others,
    checkpoint,
    encoderDirectory,
    out: options.out ?? join(directory, 'bundles', 'tiny-t2l'),
  });
  return { bundle, reference, checkpoint, encoderDirectory, notes };
}
