import { test } from 'tap';
import { fillUniform, seededRandom } from '../../../../src/base/random.ts';
import {
  type AxisTiling,
  forwardFull,
  forwardHalf,
  halfSpectrum,
  inverseFull,
  inverseHalf,
  kernelSpectra,
  type Matrix,
  type Products,
  tileAxis,
  tileRows,
} from '../../../../src/models/import/spectral/spectral.ts';

const PRODUCTS = [3, 4] as const satisfies readonly Products[];

// Lengths, kernels and tiles with odd and even points: one tile, several that fit, several that reach past the end.
const TILINGS = [
  [7, 3, 1],
  [6, 3, 1],
  [12, 5, 3],
  [13, 5, 3],
  [10, 9, 2],
  [9, 3, 9],
  [2, 9, 1],
  [1, 5, 1],
].map(([length, kernel, tiles]) => ({ kernel: kernel!, tiling: tileAxis(length!, kernel!, tiles!) }));

const describe = ({ length, tiles, points }: AxisTiling) => `${length} in ${tiles} of ${points} points`;

function random(length: number, seed: number): Float32Array {
  const values = new Float32Array(length);
  fillUniform(seededRandom(seed), values, 1);
  return values;
}

function times({ rows, columns, values }: Matrix, vector: ArrayLike<number>): number[] {
  if (vector.length !== columns) throw new Error(`${vector.length} numbers for ${columns} columns`);
  return Array.from({ length: rows }, (_, row) => {
    let sum = 0;
    for (let column = 0; column < columns; column++) sum += values[row * columns + column]! * vector[column]!;
    return sum;
  });
}

function apart(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return Number.NaN;
  return Array.from(expected).reduce((most, value, at) => Math.max(most, Math.abs(value - actual[at]!)), 0);
}

test('tiles cover every output once, and one tile saves the padding', (t) => {
  for (const [length, kernel] of [
    [1, 3],
    [10, 9],
    [37, 5],
    [384, 11],
  ] as const) {
    for (let tiles = 1; tiles <= length; tiles++) {
      const { outputs, points, start, shift } = tileAxis(length, kernel, tiles);
      if (tiles * outputs < length || points - (tiles === 1 ? shift : kernel - 1) !== outputs) {
        t.fail(`${length} in ${tiles}: ${outputs} outputs, ${points} points`);
      }
      // The first output's first tap meets the row half a kernel before the map.
      if (start - shift !== -(kernel - 1) / 2) t.fail(`${length} in ${tiles}: begins at ${start}`);
    }
    t.equal(tileAxis(length, kernel, 1).points, length + (kernel - 1) / 2);
  }
  t.end();
});

test('forward and back is the identity on the kept outputs', (t) => {
  for (const { tiling } of TILINGS) {
    const tile = random(tiling.points, 1);
    const spectrum = times(forwardHalf(tiling), tile);
    t.equal(spectrum.length, 2 * halfSpectrum(tiling.points));
    const back = times(inverseHalf(tiling), spectrum);
    t.ok(apart(back, tile.subarray(0, tiling.outputs)) < 1e-5, `half: ${describe(tiling)}`);

    const complex = random(2 * tiling.points, 2);
    const kept = [0, tiling.points].flatMap((part) => [...complex.subarray(part, part + tiling.outputs)]);
    for (const products of PRODUCTS) {
      const factors = times(forwardFull(tiling, products), complex);
      // A kernel whose spectrum is 1 everywhere: its factors are 1, −1, 1 or 1, 0.
      const multiplied = Array.from({ length: tiling.points }, (_, frequency) => {
        const own = factors.slice(products * frequency, products * (frequency + 1));
        return products === 3 ? [own[0]!, -own[1]!, own[2]!] : [own[0]!, own[2]!];
      }).flat();
      const back = times(inverseFull(tiling, products), multiplied);
      t.ok(apart(back, kept) < 1e-5, `full, ${products} products: ${describe(tiling)}`);
    }
  }
  t.end();
});

test('the spectra of kernels are conjugate Fourier transforms of their shifted taps', (t) => {
  for (const { kernel, tiling } of TILINGS) {
    const other = tileAxis(11, kernel, 2);
    const taps = random(kernel * kernel, 3);
    for (const half of [0, 1] as const) {
      const tilings = { half: tiling, full: other };
      const [re, im] = [[] as number[], [] as number[]];
      for (let u = 0; u < halfSpectrum(tiling.points); u++) {
        for (let v = 0; v < other.points; v++) {
          let [sumRe, sumIm] = [0, 0];
          for (let a = 0; a < kernel; a++) {
            for (let b = 0; b < kernel; b++) {
              const [ofHalf, ofFull] = half === 0 ? [a, b] : [b, a];
              const turns =
                (u * (ofHalf - tiling.shift)) / tiling.points + (v * (ofFull - other.shift)) / other.points;
              sumRe += taps[a * kernel + b]! * Math.cos(2 * Math.PI * turns);
              sumIm += taps[a * kernel + b]! * Math.sin(2 * Math.PI * turns);
            }
          }
          re.push(sumRe);
          im.push(sumIm);
        }
      }
      const three = re.flatMap((value, at) => [value, im[at]! - value, value + im[at]!]);
      const four = re.flatMap((value, at) => [value, im[at]!]);
      const actual = PRODUCTS.map((products) => times(kernelSpectra(kernel, half, tilings, products), taps));
      t.ok(apart(actual[0]!, three) < 1e-4, `three products, half ${half}: ${describe(tiling)}`);
      t.ok(apart(actual[1]!, four) < 1e-4, `four products, half ${half}: ${describe(tiling)}`);
    }
  }
  t.end();
});

test('an axis alone, transformed, multiplied and transformed back, is the convolution with zero padding', (t) => {
  for (const { kernel, tiling } of TILINGS) {
    const { length, tiles, outputs, points, start } = tiling;
    const signal = random(length, 4);
    const taps = random(kernel, 5);
    const at = (row: number) => (row >= 0 && row < length ? signal[row]! : 0);
    const expected = Array.from({ length }, (_, row) =>
      taps.reduce((sum, tap, a) => sum + tap * at(row + a - (kernel - 1) / 2), 0),
    );
    // With a full axis of one point, all that is left of the two-dimensional spectra is the half axis.
    const single = tileAxis(1, 1, 1);
    const column = Array.from({ length: kernel * kernel }, (_, tap) =>
      tap % kernel === (kernel - 1) / 2 ? taps[Math.floor(tap / kernel)]! : 0,
    );
    const spectra = times(kernelSpectra(kernel, 0, { half: tiling, full: single }, 4), column);
    const actual: number[] = [];
    for (let tile = 0; tile < tiles; tile++) {
      const from = start + tile * outputs;
      const spectrum = times(
        forwardHalf(tiling),
        Array.from({ length: points }, (_, point) => at(from + point)),
      );
      const multiplied = spectrum.map((value, index) => {
        const pair = index - (index % 2);
        const [re, im] = [spectra[pair]!, spectra[pair + 1]!];
        return index % 2 === 0 ? value * re - spectrum[index + 1]! * im : value * re + spectrum[pair]! * im;
      });
      actual.push(...times(inverseHalf(tiling), multiplied));
    }
    t.ok(apart(actual.slice(0, length), expected) < 1e-4, describe(tiling));
  }
  t.end();
});

test('the rows of tiles lie where the map has them, and outside it behind its last', (t) => {
  const tilings = { half: tileAxis(5, 3, 2), full: tileAxis(4, 3, 1) };
  const { half, full } = tilings;
  for (const strides of [
    { half: 4, full: 1 },
    { half: 1, full: 5 },
  ]) {
    const rows = tileRows(tilings, strides);
    t.equal(rows.length, half.points * full.points * half.tiles * full.tiles);
    let at = 0;
    for (let i = 0; i < half.points; i++) {
      for (let j = 0; j < full.points; j++) {
        for (let tile = 0; tile < half.tiles; tile++) {
          // Tiles of three outputs begin in the padding; the single tile of the other axis with the map.
          const [y, x] = [3 * tile + i - 1, j];
          const isInside = y >= 0 && y < 5 && x < 4;
          t.equal(Number(rows[at++]), isInside ? y * strides.half + x * strides.full : 20);
        }
      }
    }
  }
  t.end();
});
