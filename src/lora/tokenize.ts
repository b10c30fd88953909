/** One LoRA matrix → weight tokens (spec §3.3): what training aims at, and the inverse of detokenisation. */
import { roundBf16 } from '../base/dtype.ts';
import type { Precision } from './detokenize.ts';
import { loraErrors } from './errors.ts';
import type { TokenizedTensor, TokenLayout } from './layout.ts';
import { tokenShape } from './tensors.ts';

/**
 * The tokens of a matrix, `[tensor.tokens.count, rank + 2, chunkWidth + 2]` row-major, from its row-major numbers. A chunk
 * without any spread (an untouched B) has no standardised form: its cells are NaN, as training masks them, and its scale
 * cells hold its mean and a deviation of 0. Errors: `layout-invalid` when `matrix` has another length.
 */
export function tokenize(
  matrix: Float32Array,
  tensor: TokenizedTensor,
  layout: TokenLayout,
  options: { precision?: Precision } = {},
): Float32Array {
  const { chunkWidth, rank } = layout;
  const [height, width] = tokenShape(layout);
  const { count } = tensor.tokens;
  const columns = count * chunkWidth;
  if (matrix.length !== rank * columns) {
    throw loraErrors.layout(
      `${tensor.name} has ${tensor.shape[0]}×${tensor.shape[1]} numbers, not ${matrix.length}.`,
    );
  }
  const round = options.precision === 'bf16-official' ? roundBf16 : (value: number) => value;
  const [rowStride, columnStride] = tensor.side === 'A' ? [columns, 1] : [1, rank];
  const tokens = new Float32Array(count * height * width);
  const chunkSize = rank * chunkWidth;
  const chunk = new Float64Array(chunkSize);
  for (let index = 0; index < count; index++) {
    for (let row = 0; row < rank; row++) {
      for (let column = 0; column < chunkWidth; column++) {
        const at = row * rowStride + (index * chunkWidth + column) * columnStride;
        chunk[row * chunkWidth + column] = round(matrix[at]!);
      }
    }
    let sum = 0;
    for (const value of chunk) sum += value;
    const mean = sum / chunkSize;
    let squares = 0;
    for (const value of chunk) squares += (value - mean) ** 2;
    const deviation = round(Math.sqrt(squares / (chunkSize - 1)));
    const center = round(round(sum) / chunkSize);
    const first = index * height * width;
    for (let row = 0; row < rank; row++) {
      for (let column = 0; column < chunkWidth; column++) {
        tokens[first + row * width + column] = round(
          round(chunk[row * chunkWidth + column]! - center) / deviation,
        );
      }
    }
    const meanCell = round(center * 8);
    const deviationCell = round(round(Math.log(round(round(deviation * 0.9) + round(0.1)))) + round(1.6));
    for (let row = rank; row < height; row++) {
      for (let column = 0; column < width; column++) {
        tokens[first + row * width + column] = column % 2 === 0 ? meanCell : deviationCell;
      }
    }
    for (let row = 0; row < height; row++) {
      tokens[first + row * width + width - 2] = meanCell;
      tokens[first + row * width + width - 1] = deviationCell;
    }
  }
  return tokens;
}
