import { test } from 'tap';
import {
  drawWithoutReplacement,
  drawWithReplacement,
  fillUniform,
  indexedRandom,
  MAX_SEED,
  seededRandom,
} from '../../src/base/random.ts';

test('a seed gives the same numbers on every machine', (t) => {
  t.same(drawWithoutReplacement(seededRandom(999), 10, 10), [1, 3, 2, 9, 5, 0, 8, 7, 6, 4]);
  t.same(drawWithReplacement(seededRandom(999), 1000, 6), [691, 936, 536, 95, 317, 804]);
  t.same(drawWithoutReplacement(seededRandom(MAX_SEED), 1000, 3), [495, 724, 880]);
  const values = new Float32Array(4);
  fillUniform(seededRandom(1), values, 0.5);
  t.same([...values], [-0.8218970894813538, -0.6189390420913696, -0.023915790021419525, 0.5077584385871887]);
  t.end();
});

test('seeds differ, also at the ends of their range', (t) => {
  const seeds = [0, 1, 2, 0x7fff_ffff, 0x8000_0000, MAX_SEED];
  const first = seeds.map((seed) => drawWithReplacement(seededRandom(seed), 2 ** 30, 3).join());
  t.equal(new Set(first).size, seeds.length);
  t.end();
});

test('the first number of neighbouring seeds is as random as any other', (t) => {
  const [seeds, bins] = [10_000, 20];
  const counts = new Array<number>(bins).fill(0);
  let rising = 0;
  for (let seed = 0, previous = 0; seed < seeds; seed++) {
    const [first = 0] = drawWithReplacement(seededRandom(seed), bins, 1);
    counts[first]!++;
    if (first === (previous + 1) % bins) rising++;
    previous = first;
  }
  const expected = seeds / bins;
  const chiSquare = counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
  t.ok(chiSquare > 5 && chiSquare < 45, `chi-square ${chiSquare} of 19 degrees of freedom`);
  t.ok(rising < 2 * expected, `${rising} of ${seeds} count up`);
  t.end();
});

test('a draw without replacement has each index once, and each order equally often', (t) => {
  const random = seededRandom(7);
  for (let round = 0; round < 50; round++) {
    const drawn = drawWithoutReplacement(random, 20, 8);
    if (drawn.length !== 8 || new Set(drawn).size !== 8 || drawn.some((index) => index < 0 || index > 19)) {
      t.fail(drawn.join());
    }
  }
  t.same(drawWithoutReplacement(random, 5, 5).sort(), [0, 1, 2, 3, 4], 'all of them');
  t.same(drawWithoutReplacement(random, 5, 0), []);
  const counts = new Map<string, number>();
  const rounds = 12_000;
  for (let round = 0; round < rounds; round++) {
    const order = drawWithoutReplacement(random, 4, 2).join();
    counts.set(order, (counts.get(order) ?? 0) + 1);
  }
  t.equal(counts.size, 12);
  // Twelve outcomes of equal chance: five standard deviations of a binomial count.
  const limit = 5 * Math.sqrt(rounds * (1 / 12) * (11 / 12));
  for (const [order, count] of counts) t.ok(Math.abs(count - rounds / 12) < limit, `${order}: ${count}`);
  t.end();
});

test('a draw with replacement is uniform', (t) => {
  const counts = new Array<number>(10).fill(0);
  for (const index of drawWithReplacement(seededRandom(3), 10, 20_000)) counts[index]!++;
  t.equal(counts.length, 10);
  for (const count of counts) t.ok(Math.abs(count - 2000) < 5 * Math.sqrt(1800), `${count}`);
  t.end();
});

test('uniform numbers have the asked deviation and nothing beyond their range', (t) => {
  const values = new Float32Array(100_000);
  fillUniform(seededRandom(5), values, 2);
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
  t.ok(Math.abs(mean) < 0.03, `mean ${mean}`);
  t.ok(Math.abs(variance / 4 - 1) < 0.02, `variance ${variance}`);
  t.ok(values.every((value) => Math.abs(value) <= 2 * Math.sqrt(3) + 1e-6));
  t.end();
});

test('an indexed sequence is the same from any place on, and random along itself and across names', (t) => {
  const length = 1 << 16;
  const draw = (seed: number, name: string) => {
    const values = new Float32Array(length);
    indexedRandom(seed, name).fill(values, 0, 1);
    return values;
  };
  const values = draw(1, 'a');
  t.same(
    [...values.subarray(0, 4)],
    [0.7363495230674744, -0.5659846663475037, 0.7329354286193848, -0.9922773241996765],
  );
  const later = new Float32Array(100);
  indexedRandom(1, 'a').fill(later, 5000, 1);
  t.same(later, values.subarray(5000, 5100));
  const far = new Float32Array(2);
  indexedRandom(1, 'a').fill(far, 2 ** 32 - 2, 1);
  t.notSame([...far], [...values.subarray(0, 2)]);

  const correlation = (a: Float32Array, b: Float32Array, lag = 0) => {
    let sum = 0;
    for (let i = 0; i + lag < length; i++) sum += a[i]! * b[i + lag]!;
    return sum / (length - lag);
  };
  const mean = values.reduce((sum, value) => sum + value) / length;
  // Five standard errors of a mean of 65,536 independent numbers of deviation 1.
  const bound = 5 / Math.sqrt(length);
  t.ok(Math.abs(mean) < bound, `mean ${mean}`);
  t.ok(Math.abs(correlation(values, values) - 1) < bound, 'the deviation asked for');
  for (const lag of [1, 2, 3, 8, 9, 81, 256, 1024, 4096]) {
    t.ok(Math.abs(correlation(values, values, lag)) < bound, `lag ${lag}`);
  }
  for (const [seed, name] of [
    [1, 'b'],
    [2, 'a'],
    [3, 'a'],
  ] as const) {
    for (const lag of [0, 1, 7]) {
      t.ok(Math.abs(correlation(values, draw(seed, name), lag)) < bound, `${seed}/${name}, lag ${lag}`);
    }
  }
  const bins = new Array<number>(16).fill(0);
  for (const value of values) bins[Math.floor((value / Math.sqrt(3) + 1) * 8)]!++;
  const chiSquared = bins.reduce((sum, count) => sum + (count - length / 16) ** 2 / (length / 16), 0);
  t.ok(chiSquared < 37.7, `uniform: chi squared ${chiSquared}, 37.7 is met by one in a thousand`);
  t.end();
});
