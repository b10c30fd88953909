import { createWriteStream } from 'node:fs';
import { copyFile, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { writeSafetensors } from '../adapter/safetensors.ts';
import { seededRandom } from '../base/random.ts';
import { findBase } from '../lora/bases.ts';
import { tokenCount, tokenShape } from '../lora/tensors.ts';
import type { Bundle } from './bundle.ts';
import { type DecoderArchitecture, decoderWeights } from './import/architecture.ts';
import { type BertShape, type BertWeight, writeBertEncoder } from './import/bert-graph.ts';
import { importCheckpoint } from './import/import-checkpoint.ts';
import { uniformNumbers, untrainedDecoderNumbers } from './untrained-decoder.ts';

/** What clients name in `model`. */
const UNTRAINED_BUNDLE_ID = 'smollm2-135m-untrained';

const BASE = 'HuggingFaceTB/SmolLM2-135M-Instruct';
/** Prompts, positions and width of the condition: small, so that a decode takes well under a second on two cores. */
const CONDITION = [16, 64, 128] as const;
const TRUNK = [
  [64, 32, 160],
  [256, 16, 192],
] as const;
const KERNEL = 5;
const ENCODER: BertShape = {
  vocabulary: 30_522,
  positions: 512,
  width: CONDITION[2],
  layers: 2,
  heads: 4,
  feedForward: 512,
};
/** Standard deviation of BERT's own initialisation. */
const ENCODER_DEVIATION = 0.02;
const TOKENIZER = fileURLToPath(new URL('./bert-uncased/tokenizer.json', import.meta.url));

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
  const { layout } = findBase(BASE)!;
  const aborting = options.signal ? { signal: options.signal } : {};
  const architecture: DecoderArchitecture = {
    kernel: KERNEL,
    features: [CONDITION, ...TRUNK, [tokenCount(layout), ...tokenShape(layout)]],
    projection: undefined,
  };
  const work = await mkdtemp(join(tmpdir(), 'loradrop-untrained-'));
  try {
    const checkpoint = join(work, 'decoder.safetensors');
    const random = seededRandom(options.seed);
    // Files of the reference library are sorted by name, so ours are.
    const weights = decoderWeights(architecture).sort((a, b) => (a.source < b.source ? -1 : 1));
    const numbers = untrainedDecoderNumbers(weights, TRUNK.length, layout, random);
    const tensors = weights.map(({ source, shape }) => ({ name: source, shape }));
    await pipeline(
      writeSafetensors(tensors, numbers, { dtype: 'f32', ...aborting }),
      createWriteStream(checkpoint, { flags: 'wx' }),
    );
    const encoderDirectory = join(work, 'encoder');
    await mkdir(encoderDirectory);
    const paths = {
      model: join(encoderDirectory, 'model.onnx'),
      data: join(encoderDirectory, 'encoder.onnx.data'),
    };
    await writeBertEncoder(ENCODER, (weight) => encoderNumbers(weight, random), paths);
    await copyFile(TOKENIZER, join(encoderDirectory, 'tokenizer.json'));
    return await importCheckpoint({
      checkpoint,
      encoderDirectory,
      base: BASE,
      out: options.out,
      id: UNTRAINED_BUNDLE_ID,
      title: 'SmolLM2 135M, untrained',
      description:
        'Untrained: valid files, random effect. Encoder and decoder have random weights, so that the whole path can be ' +
        'tried at real sizes before a trained checkpoint is there.',
      trained: false,
      licence: 'Apache-2.0',
      provenance: [
        `Decoder and encoder: untrained, drawn at random from seed ${options.seed} by Loradrop itself.`,
        'Tokenizer: uncased WordPiece vocabulary of BERT, Copyright 2018 The Google AI Language Team Authors, Apache-2.0.',
      ],
      fullyMaskedAttention: 'uniform',
      ...aborting,
    });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

function* encoderNumbers(
  { name, shape }: BertWeight,
  random: ReturnType<typeof seededRandom>,
): Generator<Float32Array> {
  const elements = shape.reduce((product, side) => product * side);
  if (shape.length === 2) yield* uniformNumbers(random, elements, ENCODER_DEVIATION);
  else yield new Float32Array(elements).fill(name.endsWith('norm.weight') ? 1 : 0);
}
