/** Base models as data: the general layout rule for Llama and Qwen types, the bases with a name, and the layout check. */
import { Compile } from 'typebox/compile';
import type { FieldError } from '../base/errors.ts';
import { loraErrors } from './errors.ts';
import { type AttentionHeads, LoraLayout, type LoraModule, type TokenLayout } from './layout.ts';

/** The linear modules of a Llama type layer, in the order of weight tokens (spec §3.2). */
export const TARGET_MODULES = [
  'q_proj',
  'k_proj',
  'v_proj',
  'o_proj',
  'up_proj',
  'gate_proj',
  'down_proj',
] as const;
export type TargetModule = (typeof TARGET_MODULES)[number];

/** The widths of a Llama or Qwen type decoder-only base, and the adapter wanted for it. */
export type BaseShape = {
  readonly layers: number;
  /** Width of the residual stream. */
  readonly hidden: number;
  /** Width of all query heads together; equal to `hidden` when absent. */
  readonly query?: number;
  /** Width of all key heads together, and of all value heads. */
  readonly kv: number;
  /** Width of the feed-forward block. */
  readonly ffn: number;
  readonly rank: number;
  readonly alpha: number;
  /**
   * Columns of a chunk; the greatest common divisor of all widths when absent, so that no chunk needs padding, whichever
   * modules are targeted.
   */
  readonly chunkWidth?: number;
  /** Linear modules that carry a LoRA pair, in any order; all of {@link TARGET_MODULES} when absent. */
  readonly targets?: readonly TargetModule[];
  /** Where the base keeps its layers; {@link LAYER_PATH} when absent. */
  readonly layerPath?: string;
};

/** Where decoder-only bases keep their layers in `transformers`. */
export const LAYER_PATH = 'model.layers';

/** Where bases that hold a vision tower beside their decoder keep its layers. */
const LAYER_PATH_BESIDE_VISION = 'model.language_model.layers';
/**
 * Architectures that hold more than a decoder. Names are those of `transformers` 4.52 and newer, which vLLM 0.32 knows as
 * well; `test/peft` takes them from the library.
 */
const WITH_VISION: ReadonlySet<string> = new Set([
  'gemma3',
  'llava',
  'mistral3',
  'qwen2_5_vl',
  'qwen2_vl',
  'qwen3_vl',
]);

/** Where a base of this architecture keeps its layers: `model.layers`, `model.language_model.layers`. */
export function layerPathOf(architecture: string): string {
  return WITH_VISION.has(architecture) ? LAYER_PATH_BESIDE_VISION : LAYER_PATH;
}

/**
 * The layout with the layers where the architecture has them today. A layout made before `transformers` 4.52 moved them has
 * the old place, under which PEFT finds the modules of no layer and says nothing.
 */
export function withCurrentLayerPath<Layout extends LoraLayout>(
  architecture: string,
  layout: Layout,
): Layout {
  const moved = layout.layerPath === LAYER_PATH && layerPathOf(architecture) !== LAYER_PATH;
  return moved ? { ...layout, layerPath: layerPathOf(architecture) } : layout;
}

/** A base model that can be asked for by name. */
export type KnownBase = {
  /** Name of the repository with the weights; goes into `base_model_name_or_path`. */
  readonly id: string;
  /** Short name for command lines. */
  readonly alias: string;
  /** Family that decides names in other formats: `llama`, `qwen2`, `qwen2_5_vl`. */
  readonly architecture: string;
  readonly heads: AttentionHeads;
  readonly layout: TokenLayout;
};

/** Most weight tokens of a layout: over a hundred times the largest published one (7,308, spec §3.1). */
export const MAX_TOKENS = 1 << 20;

const validator = Compile(LoraLayout);

/**
 * Refuses everything that is not a layout: unknown or missing fields, a module named twice; and where it has a chunk width,
 * whatever chunks do not tile: odd sides, a width that the chunk width does not divide, more than {@link MAX_TOKENS} tokens.
 * Errors: `layout-invalid` with the offending fields.
 */
export function checkLayout(layout: unknown): asserts layout is LoraLayout {
  if (!validator.Check(layout)) {
    throw invalid(
      validator.Errors(layout).map(({ instancePath, message }) => ({ pointer: instancePath, message })),
    );
  }
  const { chunkWidth, layers, modules, rank } = layout;
  const fields: FieldError[] = [];
  if (chunkWidth !== undefined && rank % 2 !== 0) {
    fields.push({ pointer: '/rank', message: `${rank} is odd, which weight tokens cannot be` });
  }
  modules.forEach((module, index) => {
    for (const side of ['in', 'out'] as const) {
      if (chunkWidth !== undefined && module[side] % chunkWidth !== 0) {
        fields.push({
          pointer: `/modules/${index}/${side}`,
          message: `${module[side]} is not a multiple of the chunk width ${chunkWidth}`,
        });
      }
    }
    if (modules.findIndex(({ path }) => path === module.path) !== index) {
      fields.push({ pointer: `/modules/${index}/path`, message: `names ${module.path} a second time` });
    }
  });
  if (chunkWidth !== undefined) {
    const columns = modules.reduce((sum, module) => sum + module.in + module.out, 0);
    const tokens = (layers * columns) / chunkWidth;
    if (tokens > MAX_TOKENS) {
      fields.push({ pointer: '', message: `has ${tokens} weight tokens, more than ${MAX_TOKENS}` });
    }
  }
  if (fields.length > 0) throw invalid(fields);
}

function invalid(fields: readonly FieldError[]) {
  const listing = fields.map(({ pointer, message }) => `${pointer || '/'} ${message}`).join('; ');
  return loraErrors.layout(`The layout does not fit: ${listing}.`, { fields });
}

/**
 * The layout of any base whose layers are those of Llama: LoRA on the targeted ones of its seven linear modules, in the order
 * of {@link TARGET_MODULES} however they are named. Errors: `layout-invalid`.
 */
export function layoutForBase(shape: BaseShape): TokenLayout {
  const { hidden, kv, ffn } = shape;
  const chunkWidth =
    shape.chunkWidth ?? [shape.query ?? hidden, kv, ffn].reduce(greatestCommonDivisor, hidden);
  const { rank, alpha, ...rest } = plainLayoutForBase(shape);
  const layout: TokenLayout = { rank, alpha, chunkWidth, ...rest };
  checkLayout(layout);
  return layout;
}

/** {@link layoutForBase} for adapters that are not made of weight tokens, so that widths need nothing in common. */
export function plainLayoutForBase(shape: BaseShape): LoraLayout {
  const { layers, hidden, kv, ffn, rank, alpha } = shape;
  const query = shape.query ?? hidden;
  const targets = shape.targets ?? TARGET_MODULES;
  const modules: Record<TargetModule, LoraModule> = {
    q_proj: { path: 'self_attn.q_proj', in: hidden, out: query },
    k_proj: { path: 'self_attn.k_proj', in: hidden, out: kv },
    v_proj: { path: 'self_attn.v_proj', in: hidden, out: kv },
    o_proj: { path: 'self_attn.o_proj', in: query, out: hidden },
    up_proj: { path: 'mlp.up_proj', in: hidden, out: ffn },
    gate_proj: { path: 'mlp.gate_proj', in: hidden, out: ffn },
    down_proj: { path: 'mlp.down_proj', in: ffn, out: hidden },
  };
  const layout: LoraLayout = {
    rank,
    alpha,
    layers,
    layerPath: shape.layerPath ?? LAYER_PATH,
    modules: TARGET_MODULES.filter((name) => targets.includes(name)).map((name) => modules[name]),
  };
  checkLayout(layout);
  return layout;
}

/**
 * What contradicts the widths of q and k in a number of heads, a sentence each: heads have an even width, the same one for q
 * and k, and heads of q share those of k evenly.
 */
export function findHeadErrors(
  modules: readonly LoraModule[],
  { heads, kvHeads }: AttentionHeads,
): readonly string[] {
  const widthOf = (name: string) => modules.find(({ path }) => path === `self_attn.${name}`)?.out;
  const [query, key] = [widthOf('q_proj'), widthOf('k_proj')];
  const uneven = (width: number | undefined, count: number) =>
    width !== undefined && width % (2 * count) !== 0
      ? [`${count} heads do not divide ${width} rows into pairs`]
      : [];
  const found = [...uneven(query, heads), ...uneven(key, kvHeads)];
  if (heads % kvHeads !== 0) found.push(`${heads} heads cannot share ${kvHeads} evenly`);
  if (found.length === 0 && query !== undefined && key !== undefined && query / heads !== key / kvHeads) {
    found.push(`heads of q would have ${query / heads} rows, and those of k ${key / kvHeads}`);
  }
  return found;
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}

/**
 * The bases with published generators (Drag-and-Drop: spec §3.1; then Text-to-LoRA), and the one of the bundle that comes with
 * Loradrop.
 */
export const KNOWN_BASES: readonly KnownBase[] = [
  {
    id: 'Qwen/Qwen2.5-0.5B-Instruct',
    alias: 'qwen2.5-0.5b',
    architecture: 'qwen2',
    heads: { heads: 14, kvHeads: 2 },
    layout: layoutForBase({ layers: 24, hidden: 896, kv: 128, ffn: 4864, rank: 8, alpha: 16 }),
  },
  {
    id: 'Qwen/Qwen2.5-1.5B-Instruct',
    alias: 'qwen2.5-1.5b',
    architecture: 'qwen2',
    heads: { heads: 12, kvHeads: 2 },
    layout: layoutForBase({ layers: 28, hidden: 1536, kv: 256, ffn: 8960, rank: 16, alpha: 32 }),
  },
  {
    id: 'Qwen/Qwen2.5-VL-3B-Instruct',
    alias: 'qwen2.5-vl-3b',
    architecture: 'qwen2_5_vl',
    heads: { heads: 16, kvHeads: 2 },
    layout: layoutForBase({
      layers: 36,
      hidden: 2048,
      kv: 256,
      ffn: 11008,
      rank: 16,
      alpha: 32,
      layerPath: layerPathOf('qwen2_5_vl'),
    }),
  },
  {
    id: 'Qwen/Qwen2.5-7B-Instruct',
    alias: 'qwen2.5-7b',
    architecture: 'qwen2',
    heads: { heads: 28, kvHeads: 4 },
    layout: layoutForBase({ layers: 28, hidden: 3584, kv: 512, ffn: 18944, rank: 16, alpha: 32 }),
  },
  {
    id: 'HuggingFaceTB/SmolLM2-135M-Instruct',
    alias: 'smollm2-135m',
    architecture: 'llama',
    heads: { heads: 9, kvHeads: 3 },
    layout: layoutForBase({ layers: 30, hidden: 576, kv: 192, ffn: 1536, rank: 8, alpha: 16 }),
  },
  {
    id: 'mistralai/Mistral-7B-Instruct-v0.2',
    alias: 'mistral-7b',
    architecture: 'mistral',
    heads: { heads: 32, kvHeads: 8 },
    layout: layoutForBase({ layers: 32, hidden: 4096, kv: 1024, ffn: 14_336, rank: 8, alpha: 16 }),
  },
  {
    id: 'meta-llama/Llama-3.1-8B-Instruct',
    alias: 'llama-3.1-8b',
    architecture: 'llama',
    heads: { heads: 32, kvHeads: 8 },
    layout: layoutForBase({ layers: 32, hidden: 4096, kv: 1024, ffn: 14_336, rank: 8, alpha: 16 }),
  },
  {
    id: 'google/gemma-2-2b-it',
    alias: 'gemma-2-2b',
    architecture: 'gemma2',
    heads: { heads: 8, kvHeads: 4 },
    layout: layoutForBase({
      layers: 26,
      hidden: 2304,
      query: 2048,
      kv: 1024,
      ffn: 9216,
      rank: 8,
      alpha: 16,
    }),
  },
];

/** The base of {@link KNOWN_BASES} with this id or alias. */
export function findBase(idOrAlias: string): KnownBase | undefined {
  return KNOWN_BASES.find(({ id, alias }) => id === idOrAlias || alias === idOrAlias);
}
