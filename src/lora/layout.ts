/**
 * Layouts of adapters as plain data: which LoRA matrices there are, and for weight tokens how the rows of a decoder's output
 * map onto them. Source: spec §3.1–3.2 (Drag-and-Drop LLMs, arXiv 2506.16406).
 */
import { type Static, Type } from 'typebox';

/** One linear module that carries a LoRA pair in every layer. `in`/`out` are the widths of the frozen weight `[out, in]`. */
export const LoraModule = Type.Object(
  {
    /** Path inside a layer, as PEFT names it: `self_attn.q_proj`. */
    path: Type.String({ pattern: '^[a-z_]+(\\.[a-z_]+)*$', maxLength: 128 }),
    in: Type.Integer({ minimum: 1, maximum: 1_048_576 }),
    out: Type.Integer({ minimum: 1, maximum: 1_048_576 }),
  },
  { additionalProperties: false },
);
/** See the schema of the same name. */
export type LoraModule = Static<typeof LoraModule>;

/**
 * The LoRA matrices of an adapter: in every one of `layers`, for each of `modules`, A `[rank, in]` and B `[out, rank]`.
 *
 * With `chunkWidth` the adapter is made of weight tokens: tokens run over layers ascending, inside a layer over `modules` in
 * their order, inside a module first all chunks of A cut along its columns, then all chunks of B transposed `[rank, out]` cut
 * the same way. A token is `[rank + 2, chunkWidth + 2]`: the chunk, standardised, plus two rows and two columns of scale cells.
 */
export const LoraLayout = Type.Object(
  {
    rank: Type.Integer({ minimum: 1, maximum: 512 }),
    alpha: Type.Number({ exclusiveMinimum: 0 }),
    /** True where the adapter counts `alpha / √rank` times instead of `alpha / rank` times (rsLoRA). */
    rsLora: Type.Optional(Type.Boolean()),
    /** Columns of a weight token's chunk; absent where the adapter is not made of weight tokens. */
    chunkWidth: Type.Optional(Type.Integer({ minimum: 2, maximum: 65_536, multipleOf: 2 })),
    layers: Type.Integer({ minimum: 1, maximum: 1024 }),
    /** Path of the layer list in the base model: `model.layers`. */
    layerPath: Type.String({ pattern: '^[a-z_]+(\\.[a-z_]+)*$', maxLength: 128 }),
    modules: Type.Array(LoraModule, { minItems: 1, maxItems: 64 }),
  },
  { additionalProperties: false },
);
/** See the schema of the same name. */
export type LoraLayout = Static<typeof LoraLayout>;

/** A layout whose adapters are made of weight tokens. */
export type TokenLayout = LoraLayout & { chunkWidth: number };

/** The attention heads of a base: `num_attention_heads` and `num_key_value_heads` of its `config.json`. */
export const AttentionHeads = Type.Object(
  {
    heads: Type.Integer({ minimum: 1, maximum: 65_536 }),
    /** Heads of k and v. */
    kvHeads: Type.Integer({ minimum: 1, maximum: 65_536 }),
  },
  { additionalProperties: false },
);
/** See the schema of the same name. */
export type AttentionHeads = Static<typeof AttentionHeads>;

/** A run of consecutive weight tokens. */
export type TokenRange = { readonly start: number; readonly count: number };

/** One LoRA matrix of the adapter: what it is called, and its place. */
export type LoraTensor = {
  /** PEFT name without adapter name: `base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight`. */
  readonly name: string;
  readonly layer: number;
  readonly module: LoraModule;
  readonly side: 'A' | 'B';
  /** `[rank, in]` for A, `[out, rank]` for B, row-major. */
  readonly shape: readonly [number, number];
};

/** A LoRA matrix with the weight tokens that it is made of. */
export type TokenizedTensor = LoraTensor & { readonly tokens: TokenRange };

/** The matrices of one side of one module in all layers: `[layers, rank, in]` for A, `[layers, out, rank]` for B. */
export type LoraStack = {
  readonly module: LoraModule;
  readonly side: 'A' | 'B';
  readonly shape: readonly [number, number, number];
};
