/** Tensor numbers ↔ the little-endian bytes that a safetensors file keeps. */
import { endianness } from 'node:os';
import { allFinite, type Dtype, fromBf16Bits, fromF16Bits, toBf16Bits, toF16Bits } from '../base/dtype.ts';
import { loraErrors } from '../lora/errors.ts';
import { adapterErrors } from './errors.ts';

/** Formats whose numbers all become float32 exactly. */
export const FLOAT_DTYPES = ['BF16', 'F16', 'F32'] as const;
/** One of {@link FLOAT_DTYPES}. */
export type FloatDtype = (typeof FLOAT_DTYPES)[number];

/** Formats that can be read: those, and F64, whose numbers are rounded to the nearest float32. */
export const READABLE_DTYPES = [...FLOAT_DTYPES, 'F64'] as const;

/** How safetensors spells a format. */
export const DTYPE_NAMES: Readonly<Record<Dtype, FloatDtype>> = { bf16: 'BF16', f16: 'F16', f32: 'F32' };

// Typed arrays are views in the byte order of the machine, and the files are little-endian.
if (endianness() !== 'LE')
  throw new Error('Loradrop reads and writes tensors on little-endian machines alone.');

/**
 * The numbers rounded to `dtype`, as bytes; for `f32` a view of `values` itself. This is where the numbers of an adapter
 * are checked to be finite: every one passes here once, and only after rounding does an overflow of f16 show.
 * Errors: `adapter-not-finite` naming the tensor.
 */
export function encodeTensor(name: string, values: Float32Array, dtype: Dtype): Uint8Array {
  const bits =
    dtype === 'bf16'
      ? toBf16Bits(values)
      : dtype === 'f16'
        ? toF16Bits(values)
        : new Uint32Array(values.buffer, values.byteOffset, values.length);
  if (!allFinite(bits, dtype)) {
    throw loraErrors.notFinite(
      values.every(Number.isFinite)
        ? `${name} holds a number beyond the range of ${dtype}.`
        : `${name} holds a number that is not finite.`,
    );
  }
  return new Uint8Array(bits.buffer, bits.byteOffset, bits.byteLength);
}

/** Bytes an element takes. */
const READ_BYTES: Readonly<Record<(typeof READABLE_DTYPES)[number], 2 | 4 | 8>> = {
  BF16: 2,
  F16: 2,
  F32: 4,
  F64: 8,
};

/**
 * The float32 of bytes in one of {@link READABLE_DTYPES}; for `F32` a view of `bytes` where its place in memory allows.
 * Errors: `safetensors-invalid` for another format or a length that is no whole number of elements.
 */
export function decodeTensor(name: string, bytes: Uint8Array, dtype: string): Float32Array {
  if (!isReadableDtype(dtype)) {
    throw adapterErrors.safetensors(
      `${name} has the dtype ${dtype}; ${READABLE_DTYPES.join(', ')} can be read.`,
    );
  }
  const width = READ_BYTES[dtype];
  if (bytes.length % width !== 0) {
    throw adapterErrors.safetensors(
      `${name} has ${bytes.length} bytes, which no number of ${dtype} values fills.`,
    );
  }
  const aligned = bytes.byteOffset % width === 0 ? bytes : bytes.slice();
  const { buffer, byteOffset } = aligned;
  if (dtype === 'F32') return new Float32Array(buffer, byteOffset, bytes.length / 4);
  if (dtype === 'F64') return Float32Array.from(new Float64Array(buffer, byteOffset, bytes.length / 8));
  const bits = new Uint16Array(buffer, byteOffset, bytes.length / 2);
  return dtype === 'BF16' ? fromBf16Bits(bits) : fromF16Bits(bits);
}

function isReadableDtype(dtype: string): dtype is (typeof READABLE_DTYPES)[number] {
  return (READABLE_DTYPES as readonly string[]).includes(dtype);
}
