import { test } from 'tap';
import { fillUniform, seededRandom } from '../../src/base/random.ts';
import { figures, meanScores, pairedDifference, verdictOf } from '../../src/evaluation/statistics.ts';

/** Rows whose NLL varies much more from row to row than between the models. */
function noisy(rows: number, gain: number) {
  const [difficulty, noise] = [new Float32Array(rows), new Float32Array(rows)];
  const random = seededRandom(3);
  fillUniform(random, difficulty, 1);
  fillUniform(random, noise, 0.1);
  const score = (index: number, change: number) => ({
    tokens: 2,
    nll: 6 + difficulty[index]! + change,
    correct: index % 4 === 0 ? 1 : 0,
  });
  return {
    base: Array.from({ length: rows }, (_, index) => score(index, 0)),
    other: Array.from({ length: rows }, (_, index) => score(index, noise[index]! - gain)),
  };
}

test('figures are per token, and their intervals are as wide as theory says', (t) => {
  const { base } = noisy(400, 0);
  const { nll, accuracy } = figures(base, 1);
  t.ok(Math.abs(nll.value - base.reduce((sum, { nll }) => sum + nll, 0) / 800) < 1e-9);
  t.equal(accuracy!.value, 0.25);
  const half = 1.96 * Math.sqrt((0.25 * 0.75) / 400);
  t.ok(Math.abs(accuracy!.high - accuracy!.low - 2 * half) < 0.2 * half, 'a proportion of 400 rows');
  t.strictSame(figures(base, 1), { nll, accuracy }, 'the same seed, the same interval');
  t.notSame(figures(base, 2).nll, nll);
  const uneven = figures(
    [
      { tokens: 1, nll: 1 },
      { tokens: 9, nll: 1 },
    ],
    1,
  );
  t.equal(uneven.nll.value, 0.2, 'tokens count, not rows');
  t.notOk(uneven.accuracy);
  t.end();
});

test('pairing sees what lies far inside the intervals of each', (t) => {
  const { base, other } = noisy(100, 0.1);
  const [alone, with_] = [figures(base, 1).nll, figures(other, 1).nll];
  t.ok(with_.high > alone.low, 'the intervals overlap');
  const difference = pairedDifference(base, other, 1);
  t.ok(Math.abs(difference.nll.value + 0.05) < 0.02);
  t.equal(verdictOf(difference), 'helps');
  t.equal(verdictOf(pairedDifference(other, base, 1)), 'harms');
  t.equal(verdictOf(pairedDifference(base, base, 1)), 'no difference seen');
  t.strictSame(difference.accuracy, { value: 0, low: 0, high: 0 });
  t.end();
});

test('without an effect, about one in twenty intervals leaves out zero', (t) => {
  let found = 0;
  for (let seed = 0; seed < 200; seed++) {
    const values = new Float32Array(60);
    fillUniform(seededRandom(1000 + seed), values, 1);
    const base = Array.from({ length: 30 }, (_, index) => ({ tokens: 1, nll: values[index]! }));
    const other = Array.from({ length: 30 }, (_, index) => ({ tokens: 1, nll: values[30 + index]! }));
    if (verdictOf(pairedDifference(base, other, seed)) !== 'no difference seen') found++;
  }
  t.ok(found >= 2 && found <= 26, `${found} of 200`);
  t.end();
});

test('several adapters are averaged row by row', (t) => {
  t.strictSame(meanScores([[{ tokens: 3, nll: 1, correct: 1 }], [{ tokens: 3, nll: 2, correct: 0 }]]), [
    { tokens: 3, nll: 1.5, correct: 0.5 },
  ]);
  t.strictSame(meanScores([[{ tokens: 3, nll: 1 }]]), [{ tokens: 3, nll: 1 }]);
  const among = (nll: number) => [{ tokens: 3, nll: 5, choices: { count: 4, nll } }];
  t.strictSame(meanScores([among(1), among(2)]), among(1.5));
  t.end();
});
