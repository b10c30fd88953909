/** An encoder directory with random weights, in place of one from the Hub. */
import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { indexedRandom } from '../../../base/random.ts';
import { uniformNumbers } from '../dnd/synthetic-state-dict.ts';
import { type BertShape, type BertWeight, writeBertEncoder } from './bert-graph.ts';

/** Where the tokenizer of such encoders comes from, as a sentence. */
const SYNTHETIC_TOKENIZER =
  'Tokenizer: uncased WordPiece vocabulary of BERT, Copyright 2018 The Google AI Language Team Authors, Apache-2.0.';

/** Standard deviation of BERT's own initialisation. */
const DEVIATION = 0.02;
const TOKENIZER = fileURLToPath(new URL('../../bert-uncased/tokenizer.json', import.meta.url));

/** Writes a BERT of this shape into a directory. The same bytes for a seed on every machine. */
async function writeSyntheticEncoder(directory: string, shape: BertShape, seed: number): Promise<void> {
  const paths = { model: join(directory, 'model.onnx'), data: join(directory, 'encoder.onnx.data') };
  await writeBertEncoder(shape, (weight) => encoderNumbers(weight, seed), paths);
  await copyFile(TOKENIZER, join(directory, 'tokenizer.json'));
}

function* encoderNumbers({ name, shape }: BertWeight, seed: number): Generator<Float32Array> {
  const elements = shape.reduce((product, side) => product * side);
  const random = indexedRandom(seed, `encoder/${name}`);
  if (shape.length === 2) yield* uniformNumbers(random, elements, DEVIATION);
  else yield new Float32Array(elements).fill(name.endsWith('norm.weight') ? 1 : 0);
}

/** An encoder for random weights of a generator; disposing removes what was drawn. */
export type EncoderForSynthetic = AsyncDisposable & {
  readonly directory: string;
  readonly drawn: boolean;
  /** Sentences on where the weights of the encoder and of a generator that was drawn from the same seed come from. */
  provenance(generator: string): string[];
};

/** The encoder that is given; where none is, one with random weights in a temporary directory. */
export async function openEncoderForSynthetic(
  given: string | undefined,
  drawing: { readonly encoder: BertShape; readonly seed: number },
): Promise<EncoderForSynthetic> {
  const how = `untrained, drawn at random from seed ${drawing.seed} by Loradrop itself.`;
  if (given !== undefined) {
    return {
      directory: given,
      drawn: false,
      provenance: (generator) => [`${generator}: ${how}`],
      async [Symbol.asyncDispose]() {},
    };
  }
  const directory = await mkdtemp(join(tmpdir(), 'loradrop-encoder-'));
  const remove = () => rm(directory, { recursive: true, force: true });
  try {
    await writeSyntheticEncoder(directory, drawing.encoder, drawing.seed);
  } catch (error) {
    await remove();
    throw error;
  }
  return {
    directory,
    drawn: true,
    provenance: (generator) => [`${generator} and encoder: ${how}`, SYNTHETIC_TOKENIZER],
    [Symbol.asyncDispose]: remove,
  };
}
