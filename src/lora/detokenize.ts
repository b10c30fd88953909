/**
 * Weight tokens → one LoRA matrix (spec §3.4), in plain loops. Generators do this in their graphs
 * (`models/import/dnd/matrices-graph.ts`); this is the reference that tests hold them against.
 */
import { fromBf16Bits, roundBf16, toBf16Bits } from '../base/dtype.ts';
import { loraErrors } from './errors.ts';
import type { TokenizedTensor, TokenLayout } from './layout.ts';
import { tokenShape } from './tensors.ts';

/**
 * Arithmetic of {@link detokenize}. `float32` is exact to the last bits. `bf16-official` rounds after every step as the
 * paper's code does, which quantises small amplitudes (spec §3.6): it gives the bits of that code run by PyTorch on a CPU.
 * A GPU rounds an average once instead of twice and keeps the constants of sums unrounded, so that there a chunk's
 * amplitude may come out one quantum apart.
 */
export const PRECISIONS = ['float32', 'bf16-official'] as const;
/** One of {@link PRECISIONS}. */
export type Precision = (typeof PRECISIONS)[number];

/**
 * The row-major numbers of `tensor` from its own tokens, `[tensor.tokens.count, rank + 2, chunkWidth + 2]` row-major;
 * B comes out transposed back to `[out, rank]`. Numbers that are not finite pass through.
 * Errors: `layout-invalid` when `tokens` has another length.
 */
export function detokenize(
  tokens: Float32Array,
  tensor: TokenizedTensor,
  layout: TokenLayout,
  options: { precision?: Precision } = {},
): Float32Array {
  const { chunkWidth, rank } = layout;
  const [height, width] = tokenShape(layout);
  const cells = height * width;
  const { count } = tensor.tokens;
  if (tokens.length !== count * cells) {
    throw loraErrors.layout(
      `${tensor.name} takes ${count} tokens of ${height}×${width}, not ${tokens.length} numbers.`,
    );
  }
  const official = options.precision === 'bf16-official';
  const source = official ? officialCells(tokens, height, width) : tokens;
  const columns = count * chunkWidth;
  const matrix = new Float32Array(rank * columns);
  for (let chunk = 0; chunk < count; chunk++) {
    const first = chunk * cells;
    const { mean, deviation } = official ? AS_IS : readScale(source, first, height, width);
    if (tensor.side === 'A') {
      for (let row = 0; row < rank; row++) {
        const from = first + row * width;
        const to = row * columns + chunk * chunkWidth;
        for (let column = 0; column < chunkWidth; column++) {
          matrix[to + column] = source[from + column]! * deviation + mean;
        }
      }
    } else {
      // A token fits the first-level cache, a matrix does not: stride over the reads and keep the writes in sequence.
      let to = chunk * chunkWidth * rank;
      for (let column = 0; column < chunkWidth; column++) {
        for (let from = first + column, row = 0; row < rank; row++, from += width) {
          matrix[to++] = source[from]! * deviation + mean;
        }
      }
    }
  }
  return matrix;
}

/** Mean and standard deviation of a chunk. */
type Scale = { readonly mean: number; readonly deviation: number };

const AS_IS: Scale = { mean: 0, deviation: 1 };

const exact = (value: number) => value;

/** The chunk's scale, read from the last two rows and columns of the token at `first`; `round` follows every step. */
function readScale(
  tokens: Float32Array,
  first: number,
  height: number,
  width: number,
  round: (value: number) => number = exact,
): Scale {
  const averages = new Float64Array(4);
  for (let a = 0; a < 2; a++) {
    for (let c = 0; c < 2; c++) {
      let rowSum = 0;
      const row = first + (height - 2 + a) * width + c;
      for (let j = 0; j < width; j += 2) rowSum += tokens[row + j]!;
      let columnSum = 0;
      const column = first + a * width + width - 2 + c;
      for (let i = 0; i < height; i += 2) columnSum += tokens[column + i * width]!;
      const rowAverage = round(round(rowSum) / (width / 2));
      const columnAverage = round(round(columnSum) / (height / 2));
      const sum = round(rowAverage + columnAverage);
      averages[a * 2 + c] = round(sum * 0.5);
    }
  }
  const mean = (average: number) => round(average / 8);
  // PyTorch rounds the constant of a difference to the tensor's format and keeps that of a quotient.
  const deviation = (average: number) =>
    round(round(round(Math.exp(round(average - round(1.6)))) - round(0.1)) / 0.9);
  return {
    mean: round(round(mean(averages[0]!) + mean(averages[2]!)) / 2),
    deviation: round(round(deviation(averages[1]!) + deviation(averages[3]!)) / 2),
  };
}

/** The tokens with every chunk already scaled, in bfloat16 steps from bfloat16 tokens (spec §2.4, §3.6). */
function officialCells(tokens: Float32Array, height: number, width: number): Float32Array {
  const cells = fromBf16Bits(toBf16Bits(tokens));
  for (let first = 0; first < cells.length; first += height * width) {
    const { mean, deviation } = readScale(cells, first, height, width, roundBf16);
    for (let i = first; i < first + height * width; i++) {
      cells[i] = roundBf16(roundBf16(cells[i]! * deviation) + mean);
    }
  }
  return cells;
}
