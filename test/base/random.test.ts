import { test } from 'tap';
import {
  drawWithoutReplacement,
  drawWithReplacement,
  fillUniform,
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
