/**
 * Weight-token layouts: how the rows of a decoder's output map onto the LoRA matrices of a base model, as plain data.
 * Source: spec §3.1–3.2 (Drag-and-Drop LLMs, arXiv 2506.16406).
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
 * The explicit layout: tokens run over layers ascending, inside a layer over `modules` in their order, inside a module
 * first all chunks of A `[rank, in]` cut along its columns, then all chunks of B transposed `[rank, out]` cut the same way.
 * A token is `[rank + 2, chunkWidth + 2]`: the chunk, standardised, plus two rows and two columns of scale cells.
 */
export const LoraLayout = Type.Object(
  {
    rank: Type.Integer({ minimum: 2, maximum: 512, multipleOf: 2 }),
    alpha: Type.Number({ exclusiveMinimum: 0 }),
    chunkWidth: Type.Integer({ minimum: 2, maximum: 65_536, multipleOf: 2 }),
    layers: Type.Integer({ minimum: 1, maximum: 1024 }),
    /** Path of the layer list in the base model: `model.layers`. */
    layerPath: Type.String({ pattern: '^[a-z_]+(\\.[a-z_]+)*$', maxLength: 128 }),
    modules: Type.Array(LoraModule, { minItems: 1, maxItems: 64 }),
  },
  { additionalProperties: false },
);
/** See the schema of the same name. */
export type LoraLayout = Static<typeof LoraLayout>;

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

/** One LoRA matrix of the adapter: where its numbers come from and what it is called. */
export type LoraTensor = {
  /** PEFT name without adapter name: `base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight`. */
  readonly name: string;
  readonly layer: number;
  readonly module: LoraModule;
  readonly side: 'A' | 'B';
  /** `[rank, in]` for A, `[out, rank]` for B, row-major. */
  readonly shape: readonly [number, number];
  readonly tokens: TokenRange;
};
