import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { indexedRandom } from '../../../base/random.ts';
import type { StateDict } from '../checkpoint/state-dict.ts';
import { type BertShape, type BertWeight, writeBertEncoder } from '../encoder/bert-graph.ts';
import type { ImportOptions } from '../import-checkpoint.ts';
import { type Preset, presetArchitecture, presetBase } from './presets.ts';
import { syntheticStateDict, uniformNumbers } from './synthetic-state-dict.ts';

/** What {@link importCheckpoint} needs of random weights; disposing removes the encoder that was drawn. */
export type SyntheticSource = AsyncDisposable &
  Pick<ImportOptions, 'base' | 'encoderDirectory' | 'licence' | 'provenance' | 'fullyMaskedAttention'> & {
    readonly checkpoint: StateDict;
    readonly trained: false;
  };

/** Standard deviation of BERT's own initialisation. */
const ENCODER_DEVIATION = 0.02;
const TOKENIZER = fileURLToPath(new URL('../../bert-uncased/tokenizer.json', import.meta.url));

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
  const drawn = `drawn at random from seed ${seed} by Loradrop itself.`;
  const shared = {
    checkpoint: syntheticStateDict(presetArchitecture(preset), base.layout, seed),
    base: base.id,
    trained: false,
    licence: { text: 'Apache-2.0', commercialUse: true },
  } as const;
  if (options.encoderDirectory !== undefined) {
    return {
      ...shared,
      encoderDirectory: options.encoderDirectory,
      provenance: [`Decoder: untrained, ${drawn}`],
      async [Symbol.asyncDispose]() {},
    };
  }
  const encoderDirectory = await mkdtemp(join(tmpdir(), 'loradrop-encoder-'));
  const remove = () => rm(encoderDirectory, { recursive: true, force: true });
  try {
    await writeSyntheticEncoder(encoderDirectory, preset.encoder, seed);
  } catch (error) {
    await remove();
    throw error;
  }
  return {
    ...shared,
    encoderDirectory,
    provenance: [
      `Decoder and encoder: untrained, ${drawn}`,
      'Tokenizer: uncased WordPiece vocabulary of BERT, Copyright 2018 The Google AI Language Team Authors, Apache-2.0.',
    ],
    fullyMaskedAttention: 'uniform',
    [Symbol.asyncDispose]: remove,
  };
}

async function writeSyntheticEncoder(directory: string, shape: BertShape, seed: number): Promise<void> {
  const paths = { model: join(directory, 'model.onnx'), data: join(directory, 'encoder.onnx.data') };
  await writeBertEncoder(shape, (weight) => encoderNumbers(weight, seed), paths);
  await copyFile(TOKENIZER, join(directory, 'tokenizer.json'));
}

function* encoderNumbers({ name, shape }: BertWeight, seed: number): Generator<Float32Array> {
  const elements = shape.reduce((product, side) => product * side);
  const random = indexedRandom(seed, `encoder/${name}`);
  if (shape.length === 2) yield* uniformNumbers(random, elements, ENCODER_DEVIATION);
  else yield new Float32Array(elements).fill(name.endsWith('norm.weight') ? 1 : 0);
}
