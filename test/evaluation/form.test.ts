import { test } from 'tap';
import { fillUniform, seededRandom } from '../../src/base/random.ts';
import { compareWithForm, heldToChoices, uniformGuess } from '../../src/evaluation/form.ts';
import { nllAmong } from '../../src/evaluation/likelihoods.ts';
import type { RowScore } from '../../src/evaluation/statistics.ts';

/** Nats that three tokens of form cost a model that has not learnt the form. */
const FORM_NATS = 12;

/**
 * Rows of two choices under a model: what the form costs it, and the likelihood it gives the right choice among the two, which
 * varies from row to row.
 */
function scores(form: number, right: (row: number) => number, rows = 200): RowScore[] {
  return Array.from({ length: rows }, (_, row) => {
    const nll = -Math.log(right(row));
    return { tokens: 4, nll: form + nll, correct: right(row) > 0.5 ? 1 : 0, choices: { count: 2, nll } };
  });
}

/** Likelihoods around one value, the same for every call. */
function around(mean: number, spread: number): (row: number) => number {
  const noise = new Float32Array(200);
  fillUniform(seededRandom(7), noise, spread);
  return (row) => mean + noise[row]!;
}

test('the form alone has a price by arithmetic', (t) => {
  const free: RowScore = { tokens: 9, nll: 20 };
  const rows: RowScore[] = [
    { tokens: 4, nll: 13, correct: 0, choices: { count: 4, nll: 1.5 } },
    free,
    { tokens: 6, nll: 11, correct: 1, choices: { count: 2, nll: 0.25 } },
  ];
  t.strictSame(uniformGuess(rows), [
    { tokens: 4, nll: Math.log(4), correct: 0.25 },
    { tokens: 6, nll: Math.log(2), correct: 0.5 },
  ]);
  t.strictSame(heldToChoices(rows), [
    { tokens: 4, nll: 1.5, correct: 0 },
    { tokens: 6, nll: 0.25, correct: 1 },
  ]);
  t.equal(compareWithForm([free], [free], 1), undefined, 'answers without choices have no form to guess');
  t.equal(compareWithForm(rows, rows, 1)?.rows, 2);
  t.end();
});

test('the likelihoods of the choices are divided by their sum, however small they are', (t) => {
  const close = (value: number, wanted: number) => Math.abs(value - wanted) < 1e-9;
  t.ok(close(nllAmong([Math.log(0.2), Math.log(0.3)], 0), -Math.log(0.4)));
  t.ok(close(nllAmong([-5000, -5000 + Math.log(3)], 0), Math.log(4)));
  t.ok(close(nllAmong([-3], 0), 0));
  t.end();
});

test('what was gained is form alone unless adapters beat a guess and the base with the form for nothing', (t) => {
  const base = scores(FORM_NATS, around(0.5, 0.1));
  const gainOf = (adapted: RowScore[], of = base) => compareWithForm(of, adapted, 1)?.gain;
  t.equal(gainOf(scores(0, around(0.5, 0))), 'form alone', 'a guess');
  t.equal(
    gainOf(scores(0.1, around(0.7, 0.1))),
    'more than form',
    'knowledge that outweighs a little lost form',
  );
  t.equal(gainOf(scores(2, around(0.7, 0.1))), 'form alone', 'knowledge that does not');
  const knowing = scores(FORM_NATS, around(0.7, 0.1));
  t.equal(gainOf(scores(0, around(0.7, 0.1)), knowing), 'form alone', 'the base knew as much');
  t.equal(gainOf(scores(0, around(0.75, 0.1)), knowing), 'more than form', 'it knew less');
  t.end();
});
