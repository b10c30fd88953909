/**
 * The LoRA pair of one module as numbers, ΔW = B·A with the adapter's scale inside B. Everything here is float64, and a
 * pair that nothing changes comes out with the bits it came in with.
 */

/** One module's pair. `a` is `[rank, in]`, `b` is `[out, rank]`, both row-major. */
export type LoraPair = {
  /** The module in PEFT's names, before `.lora_A.weight`: `base_model.model.model.layers.0.self_attn.q_proj`. */
  readonly path: string;
  readonly rank: number;
  readonly in: number;
  readonly out: number;
  readonly a: Float64Array;
  readonly b: Float64Array;
};

/** The pair with ΔW times `factor`. */
export function scalePair(pair: LoraPair, factor: number): LoraPair {
  return factor === 1 ? pair : { ...pair, b: pair.b.map((value) => value * factor) };
}

/**
 * The weighted sum of pairs of one module, exactly: the rows of every A above each other, the columns of every B side by
 * side, as the heads of Ravan add up (arXiv 2506.05568). Its rank is the sum of theirs.
 */
export function addPairs(terms: readonly { readonly pair: LoraPair; readonly weight: number }[]): LoraPair {
  const first = terms[0]!.pair;
  if (terms.length === 1) return scalePair(first, terms[0]!.weight);
  const rank = terms.reduce((sum, { pair }) => sum + pair.rank, 0);
  const a = new Float64Array(rank * first.in);
  const b = new Float64Array(first.out * rank);
  let start = 0;
  for (const { pair, weight } of terms) {
    a.set(pair.a, start * first.in);
    for (let row = 0; row < pair.out; row++) {
      for (let j = 0; j < pair.rank; j++) b[row * rank + start + j] = weight * pair.b[row * pair.rank + j]!;
    }
    start += pair.rank;
  }
  return { ...first, rank, a, b };
}

/** A pair of the same module that changes nothing. */
export function zeroPair({ path, in: width, out }: LoraPair, rank: number): LoraPair {
  return { path, rank, in: width, out, a: new Float64Array(rank * width), b: new Float64Array(out * rank) };
}

/** A·Aᵀ, `[rank, rank]` row-major. */
export function gramOfA({ a, rank, in: width }: LoraPair): Float64Array {
  const gram = new Float64Array(rank * rank);
  for (let i = 0; i < rank; i++) {
    for (let j = i; j < rank; j++) {
      let sum = 0;
      for (let k = 0, p = i * width, q = j * width; k < width; k++) sum += a[p + k]! * a[q + k]!;
      gram[i * rank + j] = sum;
      gram[j * rank + i] = sum;
    }
  }
  return gram;
}

/** Bᵀ·B, `[rank, rank]` row-major. */
export function gramOfB({ b, rank, out }: LoraPair): Float64Array {
  const gram = new Float64Array(rank * rank);
  for (let row = 0; row < out; row++) {
    const from = row * rank;
    for (let i = 0; i < rank; i++) {
      const value = b[from + i]!;
      for (let j = i; j < rank; j++) gram[i * rank + j]! += value * b[from + j]!;
    }
  }
  for (let i = 0; i < rank; i++) for (let j = 0; j < i; j++) gram[i * rank + j] = gram[j * rank + i]!;
  return gram;
}
