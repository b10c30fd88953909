/** Numbers of a checkpoint on their way into external data: checked, and in the format in which they are stored. */
import { allFinite, toF16Bits } from '../../base/dtype.ts';
import { modelErrors } from '../errors.ts';
import type { Generator } from '../manifest.ts';

/** What large weights are stored as. */
export type Precision = Generator['precision'];

/** The element type of each. */
export const STORED_AS = { f32: 'float32', f16: 'float16' } as const satisfies Record<Precision, string>;

/**
 * Passes numbers on unless one is not finite, and tells of their bytes once they are dealt with.
 * Errors: `checkpoint-invalid` naming the tensor.
 */
export async function* checkedNumbers(
  chunks: AsyncIterable<Float32Array>,
  name: string,
  onBytes?: (bytes: number) => void,
): AsyncGenerator<Float32Array> {
  for await (const chunk of chunks) {
    // NaN and infinity stay NaN when multiplied by 0, and a sum without branches costs nearly nothing.
    let probe = 0;
    for (let i = 0; i < chunk.length; i++) probe += chunk[i]! * 0;
    if (probe !== 0) throw modelErrors.checkpoint(`Tensor ${name} holds numbers that are not finite.`);
    yield chunk;
    onBytes?.(chunk.byteLength);
  }
}

/** The little-endian bytes of numbers. Errors: `checkpoint-invalid` for one beyond the range of float16. */
export async function* asStoredBytes(
  chunks: AsyncIterable<Float32Array>,
  name: string,
  precision: Precision,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    yield bytesOf(narrowed(chunk, name, precision));
  }
}

/** The memory of numbers, byte by byte. */
export function bytesOf(values: Float32Array | Uint16Array | BigInt64Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

/** The numbers as they are stored. Errors: `checkpoint-invalid` for one beyond the range of float16. */
export function narrowed(
  values: Float32Array,
  name: string,
  precision: Precision,
): Float32Array | Uint16Array {
  if (precision === 'f32') return values;
  const bits = toF16Bits(values);
  if (!allFinite(bits, precision)) {
    throw modelErrors.checkpoint(`Tensor ${name} holds numbers beyond the range of f16; import it as f32.`);
  }
  return bits;
}
