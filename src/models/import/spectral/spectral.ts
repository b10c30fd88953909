/**
 * Convolutions as products of spectra. A map is cut into overlapping tiles (overlap-save), each tile is Fourier transformed
 * along both axes, the kernels' spectra are multiplied in as one matrix product over channels for every frequency, and the
 * transform back keeps the outputs that are not touched by wrapping round. Exact but for rounding; here is the arithmetic,
 * as matrices; `spectral-graph.ts` puts them into a graph.
 *
 * With T points a tile along an axis and a kernel of k taps, a tile yields m = T − k + 1 outputs. The tiles are real, so one
 * axis (`half`) needs only the frequencies 0…⌊T/2⌋; along the other (`full`) values are complex. A complex product is made of
 * four real ones, or of three with sums prepared on both sides: the sums cost nothing here, because they go into the
 * transforms' matrices and into the stored spectra.
 */

/** How an axis of a map is cut into tiles. */
export type AxisTiling = {
  /** Rows of the map along the axis, before and after. */
  readonly length: number;
  readonly tiles: number;
  /** T: points of a tile, and of its transform. */
  readonly points: number;
  /** m: outputs of a tile; `tiles` × m covers the axis. */
  readonly outputs: number;
  /** The map's row that the first tile begins with; negative where it begins in the padding. */
  readonly start: number;
  /** The kernel's tap that meets a tile's first point when its first output is made. */
  readonly shift: number;
};

/**
 * Cuts an axis into `tiles` tiles with as few points as possible. A single tile begins with the map itself, and one stretch
 * of zeros behind it serves as the padding of both ends, since a Fourier transform goes round: p points fewer.
 */
export function tileAxis(length: number, kernel: number, tiles: number): AxisTiling {
  const padding = (kernel - 1) / 2;
  if (tiles === 1) {
    return { length, tiles, points: length + padding, outputs: length, start: 0, shift: padding };
  }
  const outputs = Math.ceil(length / tiles);
  return { length, tiles, points: outputs + kernel - 1, outputs, start: -padding, shift: 0 };
}

/** The frequencies that decide a real signal of that many points. */
export function halfSpectrum(points: number): number {
  return Math.floor(points / 2) + 1;
}

/** Real multiplications that make a complex one. */
export type Products = 3 | 4;

/** Real numbers that a frequency of a kernel is stored as, and that a product leaves of it. */
export function kernelFactors(products: Products): 2 | 3 {
  return products === 3 ? 3 : 2;
}

/** A matrix in row-major order. */
export type Matrix = { readonly rows: number; readonly columns: number; readonly values: Float32Array };

function matrix(rows: number, columns: number, at: (row: number, column: number) => number): Matrix {
  const values = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) values[row * columns + column] = at(row, column);
  }
  return { rows, columns, values };
}

/** cos and sin of 2π·a·b/T, with the whole turns taken out first. */
function turn(a: number, b: number, points: number): { cos: number; sin: number } {
  const angle = (2 * Math.PI * ((a * b) % points)) / points;
  return { cos: Math.cos(angle), sin: Math.sin(angle) };
}

/** Transform of the half axis: T real points → (frequency, re|im). */
export function forwardHalf({ points }: AxisTiling): Matrix {
  return matrix(2 * halfSpectrum(points), points, (row, j) => {
    const { cos, sin } = turn(row >> 1, j, points);
    return row % 2 === 0 ? cos : -sin;
  });
}

/**
 * Transform of the full axis, and what a product needs of each frequency: (re|im, T points) → (frequency, factor). With
 * three products the factors of X are re + im, re, im. With four they are the rows [re, −im] and [im, re], which the kernel's
 * [re; im] turns into the real and the imaginary part.
 */
export function forwardFull({ points }: AxisTiling, products: Products): Matrix {
  return matrix(products * points, 2 * points, (row, column) => {
    const isImaginary = column >= points;
    const { cos, sin } = turn(Math.floor(row / products), column % points, points);
    // (re + i·im)(cos − i·sin)
    const re = isImaginary ? sin : cos;
    const im = isImaginary ? cos : -sin;
    const factors = products === 3 ? [re + im, re, im] : [re, -im, im, re];
    return factors[row % products]!;
  });
}

/** Transform back along the full axis: (frequency, product) → (re|im, m outputs). */
export function inverseFull({ points, outputs }: AxisTiling, products: Products): Matrix {
  const terms = kernelFactors(products);
  return matrix(2 * outputs, terms * points, (row, column) => {
    const { cos, sin } = turn(Math.floor(column / terms), row % outputs, points);
    // Y = re + i·im gives re·cos − im·sin and re·sin + im·cos; of three products re = k0 − k2 and im = k0 + k1.
    const [ofRe, ofIm] = row < outputs ? [cos, -sin] : [sin, cos];
    const weights = products === 3 ? [ofRe + ofIm, ofIm, -ofRe] : [ofRe, ofIm];
    return weights[column % terms]! / points;
  });
}

/** Transform back along the half axis: (frequency, re|im) → m real outputs. */
export function inverseHalf({ points, outputs }: AxisTiling): Matrix {
  return matrix(outputs, 2 * halfSpectrum(points), (row, column) => {
    const frequency = column >> 1;
    const { cos, sin } = turn(frequency, row, points);
    // Every frequency stands for its mirror image too, but for the two that are their own.
    const isOwnMirror = frequency === 0 || 2 * frequency === points;
    return ((isOwnMirror ? 1 : 2) * (column % 2 === 0 ? cos : -sin)) / points;
  });
}

/**
 * Spectra of kernels: k × k taps in stored order → (half frequency, full frequency, factor). `half` says which of the two
 * stored axes the half axis is. The factors are re, im − re, re + im of the conjugate spectrum for three products (what a
 * cross-correlation multiplies by), re and im for four.
 */
export function kernelSpectra(
  kernel: number,
  half: 0 | 1,
  tilings: { readonly half: AxisTiling; readonly full: AxisTiling },
  products: Products,
): Matrix {
  const factors = kernelFactors(products);
  const { half: halfTiling, full: fullTiling } = tilings;
  const rows = halfSpectrum(halfTiling.points) * fullTiling.points * factors;
  return matrix(rows, kernel * kernel, (row, tap) => {
    const frequency = Math.floor(row / factors);
    const fullFrequency = frequency % fullTiling.points;
    const halfFrequency = Math.floor(frequency / fullTiling.points);
    const taps = [Math.floor(tap / kernel), tap % kernel];
    const first = turn(halfFrequency, taps[half]! - halfTiling.shift, halfTiling.points);
    const second = turn(fullFrequency, taps[1 - half]! - fullTiling.shift, fullTiling.points);
    const re = first.cos * second.cos - first.sin * second.sin;
    const im = first.sin * second.cos + first.cos * second.sin;
    return (products === 3 ? [re, im - re, re + im] : [re, im])[row % factors]!;
  });
}

/**
 * For every point of every tile the row of the flattened map that lies there, in the order (half point, full point, half tile,
 * full tile); rows outside the map give the row behind its last, which the graph fills with zeros. `halfStride` and
 * `fullStride` are the distances in rows between neighbours along the axes.
 */
export function tileRows(
  tilings: { readonly half: AxisTiling; readonly full: AxisTiling },
  strides: { readonly half: number; readonly full: number },
): BigInt64Array {
  const { half, full } = tilings;
  const rows = new BigInt64Array(half.points * full.points * half.tiles * full.tiles);
  const outside = BigInt(half.length * full.length);
  let at = 0;
  for (let i = 0; i < half.points; i++) {
    for (let j = 0; j < full.points; j++) {
      for (let a = 0; a < half.tiles; a++) {
        const y = half.start + a * half.outputs + i;
        for (let b = 0; b < full.tiles; b++, at++) {
          const x = full.start + b * full.outputs + j;
          const inside = y >= 0 && y < half.length && x >= 0 && x < full.length;
          rows[at] = inside ? BigInt(y * strides.half + x * strides.full) : outside;
        }
      }
    }
  }
  return rows;
}
