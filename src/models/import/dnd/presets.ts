/** The published decoder configurations (spec §4), for checkpoints of their sizes with random weights. */
import { findBase, type KnownBase } from '../../../lora/bases.ts';
import { tokenCount, tokenShape } from '../../../lora/tensors.ts';
import type { BertShape } from '../encoder/bert-graph.ts';
import type { DecoderArchitecture, Features } from './architecture.ts';

/** A size of decoder that can be made with random weights. */
export type Preset = {
  /** How command lines name it. */
  readonly name: string;
  /** Alias of the base model its adapters are for. */
  readonly base: string;
  readonly kernel: number;
  /** Features at the input of the first layer and after each layer but the last, whose features are the base's tokens. */
  readonly trunk: readonly Features[];
  /** Lt where there is a length projection (spec §1.4). */
  readonly projectedTokens?: number;
  /** The encoder to draw where none is given. */
  readonly encoder: BertShape;
};

/** The uncased vocabulary that all seeded encoders share. */
const VOCABULARY = 30_522;

/** The body of all-MiniLM-L12-v2, the encoder of the published decoders (spec §1.3). */
const MINILM: BertShape = {
  vocabulary: VOCABULARY,
  positions: 512,
  width: 384,
  layers: 12,
  heads: 12,
  feedForward: 1536,
};

/** A small BERT in place of an encoder of another width or kind. */
function smallEncoder(width: number): BertShape {
  return { vocabulary: VOCABULARY, positions: 512, width, layers: 2, heads: 4, feedForward: 4 * width };
}

/** What the common-sense decoders of 128, 256 and 512 prompts share. */
const COMMON_SENSE_TRUNK = [
  [128, 100, 256],
  [256, 50, 200],
  [512, 50, 200],
  [1024, 25, 200],
  [1024, 10, 200],
  [2048, 10, 200],
] as const satisfies readonly Features[];

function commonSense(prompts: number): Pick<Preset, 'base' | 'kernel' | 'trunk' | 'encoder'> {
  const trunk = [[prompts, 384, 384], [prompts, 200, 300], ...COMMON_SENSE_TRUNK] as const;
  return { base: 'qwen2.5-0.5b', kernel: 9, trunk, encoder: MINILM };
}

const MATH_1B: Pick<Preset, 'base' | 'kernel' | 'trunk' | 'encoder'> = {
  base: 'qwen2.5-1.5b',
  kernel: 11,
  trunk: [
    [32, 1000, 384],
    [64, 500, 300],
    [256, 500, 300],
    [512, 125, 300],
    [1024, 64, 256],
    [2048, 32, 256],
  ],
  encoder: MINILM,
};

const LARGE: Pick<Preset, 'base' | 'kernel' | 'trunk' | 'encoder'> = {
  base: 'qwen2.5-7b',
  kernel: 11,
  trunk: [
    [16, 1000, 384],
    [64, 500, 384],
    [256, 125, 400],
    [512, 64, 400],
    [1024, 64, 400],
    [2048, 32, 400],
  ],
  encoder: MINILM,
};

/** A small decoder for trying things: a decode takes well under a second on two cores. */
export const SMALL_PRESET: Preset = {
  name: 'small',
  base: 'smollm2-135m',
  kernel: 5,
  trunk: [
    [16, 64, 128],
    [64, 32, 160],
    [256, 16, 192],
  ],
  encoder: smallEncoder(128),
};

/**
 * The six published decoders, their ablations, and two for trying things: `two-minute` has a tenth of the multiply-adds of
 * `common-sense-0.5b`, as many layers and the same tokens; `small` is {@link SMALL_PRESET}.
 */
export const PRESETS: readonly Preset[] = [
  { name: 'common-sense-0.5b', ...commonSense(128) },
  { name: 'math-1.5b', ...MATH_1B, projectedTokens: 4608 },
  {
    name: 'coding-1.5b',
    base: 'qwen2.5-1.5b',
    kernel: 11,
    trunk: [
      [16, 1000, 384],
      [64, 500, 300],
      [256, 125, 300],
      [512, 64, 300],
      [1024, 64, 256],
      [2048, 32, 256],
    ],
    projectedTokens: 26_624,
    encoder: MINILM,
  },
  { name: 'math-7b', ...LARGE, projectedTokens: 4608 },
  { name: 'coding-7b', ...LARGE, projectedTokens: 26_624 },
  {
    name: 'multimodal-3b',
    base: 'qwen2.5-vl-3b',
    kernel: 11,
    trunk: [
      [16, 1536, 384],
      [64, 500, 300],
      [256, 125, 300],
      [1024, 64, 300],
      [2048, 16, 256],
    ],
    encoder: MINILM,
  },
  { name: '256-prompts-0.5b', ...commonSense(256) },
  { name: '512-prompts-0.5b', ...commonSense(512) },
  {
    name: 'glove-0.5b',
    base: 'qwen2.5-0.5b',
    kernel: 9,
    trunk: [
      [128, 200, 300],
      [200, 100, 256],
      [256, 50, 256],
      [512, 20, 256],
      [1024, 20, 128],
      [2048, 10, 128],
    ],
    encoder: smallEncoder(300),
  },
  {
    name: 't5-0.5b',
    base: 'qwen2.5-0.5b',
    kernel: 9,
    trunk: [
      [64, 384, 768],
      [256, 256, 512],
      [512, 100, 256],
      [1024, 50, 256],
      [2048, 20, 128],
    ],
    encoder: smallEncoder(768),
  },
  {
    name: 'qwen-encoder-0.5b',
    base: 'qwen2.5-0.5b',
    kernel: 9,
    trunk: [
      [20, 384, 3584],
      [50, 300, 2000],
      [128, 128, 1024],
      [256, 32, 512],
      [1024, 10, 256],
    ],
    encoder: smallEncoder(3584),
  },
  { name: 'math-answers-1.5b', ...MATH_1B, projectedTokens: 6144 },
  {
    name: 'two-minute',
    base: 'qwen2.5-0.5b',
    kernel: 9,
    trunk: [
      [64, 192, 384],
      [64, 100, 200],
      [64, 50, 160],
      [128, 32, 128],
      [160, 24, 128],
      [192, 16, 128],
      [224, 10, 128],
      [256, 10, 128],
    ],
    encoder: MINILM,
  },
  SMALL_PRESET,
];

/** The base model of a preset. */
export function presetBase({ base }: Preset): KnownBase {
  return findBase(base)!;
}

/** The decoder of a preset. */
export function presetArchitecture(preset: Preset): DecoderArchitecture {
  const { layout } = presetBase(preset);
  const { kernel, trunk, projectedTokens } = preset;
  return {
    kernel,
    features: [...trunk, [tokenCount(layout), ...tokenShape(layout)]],
    projection: projectedTokens ? { tokens: projectedTokens, positions: trunk[0]![1] } : undefined,
  };
}
