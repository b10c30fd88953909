import { test } from 'tap';
import {
  drawWithoutReplacement,
  drawWithReplacement,
  fillNormal,
  MAX_SEED,
  seededRandom,
} from '../../src/base/random.ts';

test('a seed gives the same numbers on every machine', (t) => {
  t.same(drawWithoutReplacement(seededRandom(999), 10, 10), [8, 0, 2, 1, 6, 5, 7, 9, 3, 4]);
  t.same(drawWithReplacement(seededRandom(999), 1000, 6), [648, 374, 624, 794, 984, 625]);
  t.same(drawWithoutReplacement(seededRandom(MAX_SEED), 1000, 3), [648, 291, 255]);
  const values = new Float32Array(4);
  fillNormal(seededRandom(1), values, 0.5);
  t.same([...values], [-0.5885249376296997, 0.01456042006611824, 0.11353088170289993, 0.5801916122436523]);
  t.end();
});

test('seeds differ, also at the ends of their range', (t) => {
  const seeds = [0, 1, 2, 0x7fff_ffff, 0x8000_0000, MAX_SEED];
  const first = seeds.map((seed) => drawWithReplacement(seededRandom(seed), 2 ** 30, 3).join());
  t.equal(new Set(first).size, seeds.length);
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

test('normal numbers are normal', (t) => {
  const values = new Float32Array(100_001);
  fillNormal(seededRandom(5), values, 2);
  t.ok(values.every(Number.isFinite));
  const n = values.length;
  const mean = values.reduce((sum, value) => sum + value, 0) / n;
  const moment = (power: number) => values.reduce((sum, value) => sum + ((value - mean) / 2) ** power, 0) / n;
  t.ok(Math.abs(mean) < 0.03, `mean ${mean}`);
  t.ok(Math.abs(moment(2) - 1) < 0.02, `variance ${moment(2)}`);
  t.ok(Math.abs(moment(3)) < 0.04, `skewness ${moment(3)}`);
  t.ok(Math.abs(moment(4) - 3) < 0.1, `kurtosis ${moment(4)}`);
  const within = values.filter((value) => Math.abs(value) < 2).length / n;
  t.ok(Math.abs(within - 0.6827) < 0.01, `${within} within one deviation`);
  let covariance = 0;
  for (let i = 0; i + 1 < n; i += 2) covariance += values[i]! * values[i + 1]!;
  t.ok(Math.abs(covariance / (n / 2) / 4) < 0.03, 'the two numbers of a pair do not depend on each other');
  t.end();
});
