/** Real but tiny parts for tests: random checkpoints, a BERT encoder, and bundles imported from both. */
import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { writeSafetensors } from '../../src/adapter/safetensors.ts';
import type { Dtype } from '../../src/base/dtype.ts';
import { fillUniform, seededRandom } from '../../src/base/random.ts';
import type { TokenLayout } from '../../src/lora/layout.ts';
import { writeBertEncoder } from '../../src/models/import/encoder/bert-graph.ts';
import { importCheckpoint } from '../../src/models/import/import-checkpoint.ts';
import type { BaseLayout, ImportOptions } from '../../src/models/import/import-options.ts';
import type { Numbers } from './reference-decoder.ts';

type Features = readonly [number, number, number];

/** A decoder's shape, with `projection` = [Lt, M] where it has one. */
export type DecoderShape = {
  readonly features: readonly Features[];
  readonly kernel: number;
  readonly projection?: readonly [number, number];
};

/** A base with nine weight tokens of 4 × 6: one layer of one 8 → 28 module, rank 2, chunks of 4. */
export const TINY_BASE: BaseLayout & { layout: TokenLayout } = {
  id: 'example/tiny',
  architecture: 'llama',
  layout: {
    rank: 2,
    alpha: 4,
    chunkWidth: 4,
    layers: 1,
    layerPath: 'model.layers',
    modules: [{ path: 'mlp.up_proj', in: 8, out: 28 }],
  },
};

/** A decoder for {@link TINY_BASE} with two layers. */
export const TINY_DECODER: DecoderShape = {
  kernel: 3,
  features: [
    [3, 6, 8],
    [4, 5, 7],
    [9, 4, 6],
  ],
};

/** A random state dict under its published names (spec §2.5). */
export function randomStateDict(shape: DecoderShape, seed: number): Map<string, Numbers> {
  const random = seededRandom(seed);
  const tensors = new Map<string, Numbers>();
  const add = (name: string, sides: readonly number[], deviation: number, mean = 0) => {
    const values = new Float32Array(sides.reduce((a, b) => a * b));
    fillUniform(random, values, deviation);
    tensors.set(name, { shape: sides, values: values.map((value) => value + mean) });
  };
  const { features, kernel: k, projection } = shape;
  if (projection) {
    const [l, m] = projection;
    add('down_proj.weight', [m, l], 1 / Math.sqrt(l));
    add('down_proj.bias', [m], 0.1);
    add('gate_proj.weight', [m, m], 1 / Math.sqrt(m));
    add('gate_proj.bias', [m], 0.1);
  }
  features.slice(1).forEach(([n2, l2, c2], index) => {
    const [n, l, c] = features[index]!;
    const prefix = `model.decoder.module_list.${index}.`;
    add(`${prefix}linear1.bias`, [l2, c2], 0.3);
    add(`${prefix}linear1.norm.weight`, [l, c], 0.2, 1);
    add(`${prefix}linear1.norm.bias`, [l, c], 0.2);
    add(`${prefix}linear1.conv1w.weight`, [c2, c, k, k], 1 / Math.sqrt(c * k * k));
    add(`${prefix}linear1.conv1h.weight`, [l2, l, k, k], 1 / Math.sqrt(l * k * k));
    add(`${prefix}linear1.conv2h.weight`, [l2, l, k, k], 1 / Math.sqrt(l * k * k));
    add(`${prefix}linear1.conv2w.weight`, [c2, c, k, k], 1 / Math.sqrt(c * k * k));
    add(`${prefix}linear2.weight`, [n2, n, k, k], 1 / Math.sqrt(n * k * k));
    add(`${prefix}linear2.bias`, [n2], 0.1);
  });
  return tensors;
}

/** Writes a state dict as a safetensors file. */
export async function writeCheckpoint(
  path: string,
  tensors: ReadonlyMap<string, Numbers>,
  dtype: Dtype = 'f32',
): Promise<void> {
  const sorted = [...tensors].sort(([a], [b]) => (a < b ? -1 : 1));
  const entries = sorted.map(([name, { shape }]) => ({ name, shape }));
  const values = sorted.map(([, numbers]) => Float32Array.from(numbers.values));
  await writeFile(path, writeSafetensors(entries, values, { dtype }));
}

/** Writes an encoder directory with a one-layer BERT of the given width and the real uncased vocabulary. */
export async function writeEncoder(directory: string, width: number, positions = 64): Promise<void> {
  await mkdir(directory, { recursive: true });
  const random = seededRandom(1);
  const shape = { vocabulary: 30_522, positions, width, layers: 1, heads: 1, feedForward: width };
  await writeBertEncoder(
    shape,
    (weight) => {
      const values = new Float32Array(weight.shape.reduce((a, b) => a * b));
      fillUniform(random, values, 0.1);
      return [values];
    },
    { model: join(directory, 'model.onnx'), data: join(directory, 'encoder.onnx.data') },
  );
  const tokenizer = new URL('../../src/models/bert-uncased/tokenizer.json', import.meta.url);
  await copyFile(fileURLToPath(tokenizer), join(directory, 'tokenizer.json'));
}

/** The options of an import that name no files. */
export const IMPORT_FACTS = {
  id: 'tiny',
  trained: false,
  licence: { text: 'Apache-2.0', commercialUse: true },
  provenance: ['Random numbers of a test.'],
} as const;

/** Imports a random tiny bundle below a directory and returns it, with its state dict and the options to do it again. */
export async function importSmallBundle(
  directory: string,
  shape: DecoderShape = TINY_DECODER,
  options: Partial<Omit<ImportOptions, 'checkpoint'>> = {},
) {
  const tensors = randomStateDict(shape, 11);
  const checkpoint = join(directory, 'checkpoint.safetensors');
  const encoderDirectory = join(directory, 'encoder');
  await writeCheckpoint(checkpoint, tensors);
  await writeEncoder(encoderDirectory, shape.features[0]![2]);
  const all: ImportOptions & { checkpoint: string } = {
    ...IMPORT_FACTS,
    checkpoint,
    encoderDirectory,
    base: TINY_BASE,
    out: join(directory, 'bundles', 'tiny'),
    ...options,
  };
  return { bundle: await importCheckpoint(all), tensors, options: all };
}
