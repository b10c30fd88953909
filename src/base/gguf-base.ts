/** What a GGUF base says about itself, as far as an adapter has to fit it. */
export type GgufBase = {
  /** GGUF's own name: `llama`, `qwen2`. */
  readonly architecture: string;
  readonly layers: number;
  /** Width of the residual stream. */
  readonly hidden: number;
  /** Width of the feed-forward block. */
  readonly ffn: number;
  readonly heads: number;
  /** Heads of k and v. */
  readonly kvHeads: number;
  /** Width of one head of q and k. */
  readonly keyWidth: number;
  /** Width of one head of v. */
  readonly valueWidth: number;
};
