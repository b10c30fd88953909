/** The published sizes of Text-to-LoRA hypernetworks, for checkpoints of their sizes with random weights. */
import type { BertShape } from '../encoder/bert-graph.ts';

/** A size of hypernetwork that can be made with random weights. */
export type T2lPreset = {
  /** How command lines name it. */
  readonly name: string;
  /** Alias of the base model its adapters are for. */
  readonly base: string;
  readonly rank: number;
  readonly alpha: number;
  /** Width of the latent vector, and of what the heads take. */
  readonly latent: number;
  readonly headIn: number;
  /** Names of the modules that carry a LoRA pair. */
  readonly modules: readonly string[];
  /** The encoder to draw where none is given. */
  readonly encoder: BertShape;
};

/**
 * The size of gte-large-en-v1.5, the encoder of the published hypernetworks, with absolute positions and as many of them as the
 * vocabulary's own model has.
 */
const GTE_LARGE: BertShape = {
  vocabulary: 30_522,
  positions: 512,
  width: 1024,
  layers: 24,
  heads: 16,
  feedForward: 4096,
};

const PUBLISHED = {
  rank: 8,
  alpha: 16,
  latent: 512,
  headIn: 2048,
  modules: ['q_proj', 'v_proj'],
  encoder: GTE_LARGE,
} as const satisfies Partial<T2lPreset>;

/** The published hypernetworks, and a small one for trying things. */
export const T2L_PRESETS: readonly T2lPreset[] = [
  { name: 't2l-gemma-2b', base: 'gemma-2-2b', ...PUBLISHED },
  { name: 't2l-llama-8b', base: 'llama-3.1-8b', ...PUBLISHED },
  { name: 't2l-mistral-7b', base: 'mistral-7b', ...PUBLISHED },
  {
    name: 't2l-small',
    base: 'smollm2-135m',
    ...PUBLISHED,
    latent: 64,
    headIn: 128,
    encoder: { ...GTE_LARGE, width: 128, layers: 2, heads: 4, feedForward: 512 },
  },
];
