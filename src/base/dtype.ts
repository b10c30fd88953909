/** Number formats of tensors: names, widths and the rounding between float32 and the two half formats. */

/** Formats an adapter can be written in. */
export const DTYPES = ['bf16', 'f16', 'f32'] as const;
/** One of {@link DTYPES}. */
export type Dtype = (typeof DTYPES)[number];

/** Bytes an element takes. */
export const DTYPE_BYTES: Readonly<Record<Dtype, number>> = { bf16: 2, f16: 2, f32: 4 };

// One number seen as float32 and as its bits; typed arrays, since a DataView costs several times as much here.
const scratchFloat = new Float32Array(1);
const scratchBits = new Uint32Array(scratchFloat.buffer);

/** The nearest bfloat16 of each float32 (ties to even, NaN stays NaN), as its 16 bits. */
export function toBf16Bits(values: Float32Array): Uint16Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const out = new Uint16Array(values.length);
  for (let i = 0; i < bits.length; i++) {
    const b = bits[i]!;
    // A NaN whose payload sits in the low half would round to infinity: keep it quiet instead.
    out[i] = (b & 0x7fffffff) > 0x7f800000 ? (b >>> 16) | 0x40 : (b + 0x7fff + ((b >>> 16) & 1)) >>> 16;
  }
  return out;
}

/** The float32 of each bfloat16, exactly. */
export function fromBf16Bits(bits: Uint16Array): Float32Array {
  const wide = new Uint32Array(bits.length);
  for (let i = 0; i < bits.length; i++) wide[i] = bits[i]! << 16;
  return new Float32Array(wide.buffer);
}

/** One number rounded to float32, then to bfloat16 (each ties to even), and back. */
export function roundBf16(value: number): number {
  scratchFloat[0] = value;
  const b = scratchBits[0]!;
  if ((b & 0x7fffffff) > 0x7f800000) return Number.NaN;
  scratchBits[0] = (b + 0x7fff + ((b >>> 16) & 1)) & 0xffff0000;
  return scratchFloat[0]!;
}

/** The nearest IEEE binary16 of each float32 (ties to even; beyond 65504 becomes infinity), as its 16 bits. */
export function toF16Bits(values: Float32Array): Uint16Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const out = new Uint16Array(values.length);
  for (let i = 0; i < bits.length; i++) {
    const b = bits[i]!;
    const sign = (b >>> 16) & 0x8000;
    const magnitude = b & 0x7fffffff;
    if (magnitude > 0x7f800000) out[i] = sign | 0x7e00;
    else if (magnitude >= 0x47800000) out[i] = sign | 0x7c00;
    else if (magnitude >= 0x38800000) {
      // Normal: re-bias the exponent, drop 13 mantissa bits with ties to even; a carry runs into the exponent as it should.
      out[i] = sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
    } else {
      // Subnormal: adding 0.5 lines the mantissa up at the format's smallest step, and the FPU rounds it.
      scratchBits[0] = magnitude;
      scratchFloat[0] = scratchFloat[0]! + 0.5;
      out[i] = sign | (scratchBits[0]! - 0x3f000000);
    }
  }
  return out;
}

/** The float32 of each IEEE binary16, exactly. */
export function fromF16Bits(bits: Uint16Array): Float32Array {
  const out = new Float32Array(bits.length);
  for (let i = 0; i < bits.length; i++) {
    const h = bits[i]!;
    const sign = h & 0x8000 ? -1 : 1;
    const exponent = (h >>> 10) & 0x1f;
    const fraction = h & 0x3ff;
    if (exponent === 0) out[i] = sign * fraction * 2 ** -24;
    else if (exponent === 31) out[i] = fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
    else out[i] = sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  }
  return out;
}

/** Lowest bit of the exponent of each format, in both halves of a word where a number takes a half. */
const EXPONENT_ONES: Readonly<Record<Dtype, number>> = {
  bf16: 0x0080_0080,
  f16: 0x0400_0400,
  f32: 0x0080_0000,
};

/** Whether every number of a format, as its bits, is finite. */
export function allFinite(bits: Uint16Array | Uint32Array, dtype: Dtype): boolean {
  // NaN and infinity alone have an exponent of all ones: adding one to it carries into the place of the sign. Without a
  // branch in the loop, and two halves at a time, the check costs less than the rounding.
  const ones = EXPONENT_ONES[dtype];
  const sign = (dtype === 'f32' ? 0x8000_0000 : 0x8000_8000) | 0;
  const exponents = (sign - ones) & ~sign;
  let carried = 0;
  const check = (values: Uint16Array | Uint32Array) => {
    for (let i = 0; i < values.length; i++) carried |= (values[i]! & exponents) + ones;
  };
  const inWords = bits.BYTES_PER_ELEMENT === 2 && bits.byteOffset % 4 === 0;
  if (inWords) {
    check(new Uint32Array(bits.buffer, bits.byteOffset, bits.length >> 1));
    if (bits.length % 2 === 1) check(bits.subarray(-1));
  } else check(bits);
  return (carried & sign) === 0;
}
