import { test } from 'tap';
import { DTYPES, toBf16Bits, toF16Bits } from '../../src/base/dtype.ts';
import { seededRandom } from '../../src/base/random.ts';
import { createRounding } from '../../src/inference/rounding.ts';

/** Every exponent with random fractions, every tie between two neighbours of either format, zeros and subnormals. */
function hardNumbers(): Float32Array {
  const words: number[] = [
    0, 0x8000_0000, 1, 0x007f_ffff, 0x0080_0000, 0x3380_0000, 0x3300_0000, 0x3300_0001,
  ];
  const random = seededRandom(5);
  for (let exponent = 0; exponent < 254; exponent++) {
    for (let i = 0; i < 40; i++) words.push(((exponent << 23) | (random.next() >>> 9)) >>> 0);
    for (const low of [0x8000, 0x7fff, 0x8001, 0x1_8000, 0x1000, 0x0fff, 0x1001, 0x3000]) {
      words.push(((exponent << 23) | low) >>> 0, ((exponent << 23) | low | 0x8000_0000) >>> 0);
    }
  }
  return new Float32Array(Uint32Array.from(words).buffer);
}

test('numbers are rounded as the reference rounds them, to nearest and ties to even', async (t) => {
  const round = createRounding({ threads: 2 });
  const all = hardNumbers();
  for (const [dtype, reference, largest] of [
    ['bf16', toBf16Bits, 3.38e38],
    ['f16', toF16Bits, 65_504],
  ] as const) {
    const values = all.filter((value) => Math.abs(value) <= largest);
    const { bytes, finite } = await round(values, dtype);
    t.ok(finite);
    t.ok(Buffer.from(bytes).equals(Buffer.from(reference(values).buffer)), dtype);
  }
  const { bytes, finite } = await round(all, 'f32');
  t.ok(finite);
  t.ok(Buffer.from(bytes).equals(Buffer.from(all.buffer)), 'float32 stays as it is');
});

test('what is not finite shows, wherever it stands', async (t) => {
  const round = createRounding({ threads: 1 });
  for (const dtype of DTYPES) {
    for (const [value, isKept] of [
      [Number.NaN, false],
      [Number.POSITIVE_INFINITY, false],
      [Number.NEGATIVE_INFINITY, false],
      [3.4e38, dtype === 'f32'],
      [-65_520, dtype !== 'f16'],
      [65_519, true],
      [3.389e38, dtype !== 'f16'],
    ] as const) {
      for (const at of [0, 1, 7, 1022]) {
        const values = new Float32Array(1023).fill(-1.5);
        values[at] = value;
        t.equal((await round(values, dtype)).finite, isKept, `${value} at ${at} as ${dtype}`);
      }
    }
  }
});
