/**
 * The singular values of B·A, and its best approximation of a lower rank, without ever forming B·A: the r×r Gram matrices
 * A·Aᵀ and Bᵀ·B tell all that is needed. They square the numbers, so what is below {@link SMALLEST} of a factor's largest
 * direction is taken for nothing: 1e-8 of a pair, beside the 6e-8 that float32 rounds by.
 */
import { EigenvalueDecomposition, Matrix, SingularValueDecomposition } from 'ml-matrix';
import { gramOfA, gramOfB, type LoraPair, zeroPair } from './pair.ts';

/** Smallest eigenvalue of a Gram matrix that counts, as a share of its largest. */
const SMALLEST = 2 ** -52;

/** B·A as B·left · right·A, where `left` and `right` share the singular values evenly. */
export type Spectrum = {
  /** Largest first, as many as the pair has rank; 0 where the pair has fewer directions. */
  readonly singularValues: Float64Array;
  /** The nearest pair of `rank`, in the Frobenius norm (Eckart and Young). */
  cut(rank: number): LoraPair;
};

/** Decomposes a pair. */
export function spectrumOf(pair: LoraPair): Spectrum {
  const { rank } = pair;
  const fromB = orthogonalise(gramOfB(pair), rank);
  const fromA = orthogonalise(gramOfA(pair), rank);
  const singularValues = new Float64Array(rank);
  if (fromA.size === 0 || fromB.size === 0) return { singularValues, cut: (to) => zeroPair(pair, to) };

  // B = Q·scaledᵀ with orthonormal columns Q = B·inverse, and Aᵀ alike.
  const core = fromB.scaled.transpose().mmul(fromA.scaled);
  const svd = new SingularValueDecomposition(core, { autoTranspose: true });
  singularValues.set(svd.diagonal);
  return {
    singularValues,
    cut(to) {
      const kept = Math.min(to, svd.diagonal.length);
      const roots = svd.diagonal.slice(0, kept).map(Math.sqrt);
      const columns = Array.from({ length: kept }, (_, column) => column);
      const weigh = (vectors: Matrix) => vectors.subMatrixColumn(columns).mulRowVector(roots);
      const left = fromB.inverse.mmul(weigh(svd.leftSingularVectors));
      const right = fromA.inverse.mmul(weigh(svd.rightSingularVectors));
      return project(pair, left, right, to);
    },
  };
}

/** For a factor with this Gram matrix: what makes its directions orthonormal, and what undoes that. */
function orthogonalise(gram: Float64Array, rank: number) {
  const { realEigenvalues: values, eigenvectorMatrix: vectors } = new EigenvalueDecomposition(
    Matrix.from1DArray(rank, rank, gram),
    { assumeSymmetric: true },
  );
  const largest = Math.max(...values);
  const kept = values.flatMap((value, index) => (value > 0 && value >= largest * SMALLEST ? [index] : []));
  if (kept.length === 0) return { size: 0, scaled: vectors, inverse: vectors };
  const roots = kept.map((index) => Math.sqrt(values[index]!));
  const basis = vectors.subMatrixColumn(kept);
  return {
    size: kept.length,
    scaled: basis.clone().mulRowVector(roots),
    inverse: basis.divRowVector(roots),
  };
}

/** B·left and rightᵀ·A, filled up with zeros to rank `to`. */
function project(pair: LoraPair, left: Matrix, right: Matrix, to: number): LoraPair {
  const { rank, in: width, out } = pair;
  const a = new Float64Array(to * width);
  const b = new Float64Array(out * to);
  const kept = left.columns;
  const [l, r] = [left.to1DArray(), right.to1DArray()];
  for (let k = 0; k < kept; k++) {
    for (let i = 0; i < rank; i++) {
      const weight = r[i * kept + k]!;
      for (let column = 0; column < width; column++) {
        a[k * width + column]! += weight * pair.a[i * width + column]!;
      }
    }
  }
  for (let row = 0; row < out; row++) {
    for (let i = 0; i < rank; i++) {
      const value = pair.b[row * rank + i]!;
      for (let k = 0; k < kept; k++) b[row * to + k]! += value * l[i * kept + k]!;
    }
  }
  return { ...pair, rank: to, a, b };
}
