import { test } from 'tap';
import { fromBf16Bits, fromF16Bits, roundBf16, toBf16Bits, toF16Bits } from '../../src/base/dtype.ts';

const everyPattern = Uint16Array.from({ length: 65_536 }, (_, bits) => bits);

/** The float32 numbers around each 16-bit number of a format: itself, halfway to the next, and just beside halfway. */
function neighbourhood(decoded: Float32Array): Float32Array {
  const sorted = [...new Set(decoded)].filter(Number.isFinite).sort((a, b) => a - b);
  const bits = new Uint32Array(1);
  const float = new Float32Array(bits.buffer);
  const values: number[] = [];
  sorted.forEach((value, index) => {
    values.push(value, -value);
    const next = sorted[index + 1];
    if (next === undefined) return;
    float[0] = (value + next) / 2;
    values.push(float[0]!);
    // One unit in the last place to either side.
    bits[0]!++;
    values.push(float[0]!);
    bits[0]! -= 2;
    values.push(float[0]!);
  });
  return Float32Array.from(values);
}

/** `value` to `digits` binary digits, but never finer than `smallest`, ties to even: the definition, in float64. */
function roundBinary(value: number, digits: number, smallest: number): number {
  if (value === 0 || !Number.isFinite(value)) return value;
  const exponent = Math.floor(Math.log2(Math.abs(value)));
  const step = Math.max(2 ** (exponent - digits + 1), smallest);
  const steps = value / step;
  const floor = Math.floor(steps);
  const rest = steps - floor;
  const up = rest > 0.5 || (rest === 0.5 && floor % 2 !== 0);
  return (up ? floor + 1 : floor) * step;
}

const BF16 = { digits: 8, smallest: 2 ** -133, largest: 3.3895313892515355e38 };

test('bfloat16 rounds to the nearest, ties to even', (t) => {
  const decoded = fromBf16Bits(everyPattern);
  const values = neighbourhood(decoded);
  t.ok(values.length > 200_000);
  const rounded = fromBf16Bits(toBf16Bits(values));
  let wrong = 0;
  values.forEach((value, index) => {
    const ideal = roundBinary(value, BF16.digits, BF16.smallest);
    const wanted = Math.abs(ideal) > BF16.largest ? Math.sign(ideal) * Number.POSITIVE_INFINITY : ideal;
    if (!Object.is(rounded[index], wanted) && !(wanted === 0 && rounded[index] === 0)) wrong++;
    if (!Object.is(roundBf16(value), rounded[index])) wrong++;
  });
  t.equal(wrong, 0);
  t.end();
});

test('half precision rounds as the platform does', (t) => {
  const values = neighbourhood(fromF16Bits(everyPattern));
  t.ok(values.length > 200_000);
  const platform = new Uint16Array(
    new Float16Array([...values, 65_519.996, 65_520, 1e10, -1e10, 2e-8, 2.98e-8]).buffer,
  );
  const ours = toF16Bits(Float32Array.from([...values, 65_519.996, 65_520, 1e10, -1e10, 2e-8, 2.98e-8]));
  t.equal(
    ours.findIndex((bits, index) => bits !== platform[index]),
    -1,
  );
  const wide = Float32Array.from(new Float16Array(everyPattern.buffer));
  t.equal(
    fromF16Bits(everyPattern).findIndex((value, index) => !Object.is(value, wide[index])),
    -1,
    'every bit pattern reads as the platform reads it',
  );
  t.end();
});

test('what 16 bits hold comes back bit for bit', (t) => {
  const isNaN16 = (bits: number, exponent: number, fraction: number) =>
    (bits & exponent) === exponent && (bits & fraction) !== 0;
  const bf16 = toBf16Bits(fromBf16Bits(everyPattern));
  const f16 = toF16Bits(fromF16Bits(everyPattern));
  let wrong = 0;
  for (const bits of everyPattern) {
    if (isNaN16(bits, 0x7f80, 0x007f) ? !isNaN16(bf16[bits]!, 0x7f80, 0x007f) : bf16[bits] !== bits) wrong++;
    if (isNaN16(bits, 0x7c00, 0x03ff) ? !isNaN16(f16[bits]!, 0x7c00, 0x03ff) : f16[bits] !== bits) wrong++;
  }
  t.equal(wrong, 0);
  t.end();
});

test('NaN stays NaN, whatever its payload', (t) => {
  const bits = Uint32Array.from([0x7f800001, 0x7fffffff, 0xff800001, 0xffffffff, 0x7fc00000]);
  const values = new Float32Array(bits.buffer);
  t.ok(fromBf16Bits(toBf16Bits(values)).every(Number.isNaN));
  t.ok(fromF16Bits(toF16Bits(values)).every(Number.isNaN));
  t.ok(values.every((value) => Number.isNaN(roundBf16(value))));
  t.equal(roundBf16(Number.POSITIVE_INFINITY), Number.POSITIVE_INFINITY);
  t.equal(roundBf16(1e300), Number.POSITIVE_INFINITY);
  t.end();
});

test('a view into a larger buffer is read where it lies', (t) => {
  const values = new Float32Array([9, 1, 2, 9]).subarray(1, 3);
  t.same([...fromBf16Bits(toBf16Bits(values))], [1, 2]);
  t.same([...fromF16Bits(toF16Bits(values))], [1, 2]);
  t.end();
});
