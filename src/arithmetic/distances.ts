/** How far adapters of one base are from each other and from their mean, as changes of the base's weights. */
import type { PeftFiles } from '../adapter/peft-files.ts';
import type { LoraPair } from './pair.ts';
import { openSource, readTogether } from './read-pairs.ts';

/** How samples lie about their mean. */
export type SampleSpread = {
  /** Place of the sample nearest to the mean; of equal ones the first. */
  readonly central: number;
  /** ‖ΔW of each − mean‖ as a share of ‖mean‖; Infinity where the mean is zero and the sample is not. */
  readonly fromMean: readonly number[];
};

/** Reads the samples side by side, a module at a time. Errors: those of reading. */
export async function spreadOfSamples(
  samples: readonly PeftFiles[],
  options: { signal?: AbortSignal } = {},
): Promise<SampleSpread> {
  const count = samples.length;
  // ⟨ΔW of i, ΔW of j⟩ over all modules, from which every distance follows.
  const products = Array.from({ length: count }, () => new Float64Array(count));
  for await (const heads of readTogether(samples.map(openSource), options.signal)) {
    for (let i = 0; i < count; i++) {
      for (let j = i; j < count; j++) {
        const [p, q] = [heads[i]?.pair, heads[j]?.pair];
        if (!p || !q) continue;
        const product = innerProduct(p, q);
        products[i]![j]! += product;
        if (i !== j) products[j]![i]! += product;
      }
    }
  }
  const toMean = products.map((row) => mean(row));
  const meanSquare = Math.max(0, mean(toMean));
  const squares = products.map((row, i) => Math.max(0, row[i]! - 2 * toMean[i]! + meanSquare));
  return {
    central: squares.indexOf(Math.min(...squares)),
    fromMean: squares.map((square) => (square === 0 ? 0 : Math.sqrt(square / meanSquare))),
  };
}

/** The Frobenius inner product of the changes of two pairs of one module: ⟨B₁A₁, B₂A₂⟩ = Σ (B₁ᵀB₂) ∘ (A₁A₂ᵀ). */
export function innerProduct(p: LoraPair, q: LoraPair): number {
  const { in: width, out } = p;
  const fromB = new Float64Array(p.rank * q.rank);
  for (let row = 0; row < out; row++) {
    for (let i = 0; i < p.rank; i++) {
      const value = p.b[row * p.rank + i]!;
      for (let j = 0; j < q.rank; j++) fromB[i * q.rank + j]! += value * q.b[row * q.rank + j]!;
    }
  }
  let product = 0;
  for (let i = 0; i < p.rank; i++) {
    for (let j = 0; j < q.rank; j++) {
      let sum = 0;
      for (let k = 0, x = i * width, y = j * width; k < width; k++) sum += p.a[x + k]! * q.a[y + k]!;
      product += sum * fromB[i * q.rank + j]!;
    }
  }
  return product;
}

const mean = (values: ArrayLike<number>) => {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]!;
  return sum / values.length;
};
