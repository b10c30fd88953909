import { test } from 'tap';
import { verdictSentences } from '../../src/cli/evaluation-verdict.ts';
import type { Estimate, Figures } from '../../src/evaluation/statistics.ts';

const around = (value: number, half: number): Estimate => ({ value, low: value - half, high: value + half });
const nll = (value: number, half = 0.02): Figures => ({ nll: around(value, half) });

/** The verdict on adapters that help, as far as it tells what was gained. */
function told(gain: 'more than form' | 'form alone', guess: Figures, held: Figures, rows = 500) {
  const form = { rows, gain, minusUniformGuess: guess, minusBaseHeldToChoices: held };
  return verdictSentences(nll(-4.5), { rows: 500, form });
}

test('a verdict says in words when what was gained is form alone', (t) => {
  const [effect, gain, ...more] = told('form alone', nll(0.01), nll(-0.2));
  t.equal(
    effect,
    'helps: the adapters lower the NLL by 4.5000 nats a token (95 % interval −4.5200 to −4.4800, 500 rows).',
  );
  t.equal(
    gain,
    'what was gained is form alone: as good as guessing in the right form (NLL +0.0100, 95 % interval −0.0100 to +0.0300).',
  );
  t.strictSame(more, []);
  t.match(told('form alone', nll(0.1), nll(-0.2))[1], /form alone: worse than guessing in the right form/);
  t.match(
    told('form alone', nll(-0.1), nll(0), 20)[1],
    /form alone: on the 20 rows with choices, better than guessing .*, but as good as the base held to the listed choices/,
  );
  t.match(
    told('more than form', nll(-0.1), nll(-0.2))[1],
    /^more than form: better than guessing .*, and better than the base held/,
  );
  t.end();
});

test('a verdict tells accuracy where its interval leaves out 0, and nothing of a gain where there is none', (t) => {
  const form = {
    rows: 9,
    gain: 'form alone',
    minusUniformGuess: nll(1),
    minusBaseHeldToChoices: nll(1),
  } as const;
  const harm = verdictSentences({ ...nll(0.5), accuracy: around(-0.1, 0.05) }, { rows: 9, form });
  t.match(harm, [
    /^harms: .* raise /,
    /^answers are right less often: accuracy −0\.1000 .*−0\.1500 to −0\.0500/,
  ]);
  t.equal(harm.length, 2);
  t.match(verdictSentences({ ...nll(-1), accuracy: around(0.2, 0.1) }, { rows: 9 }), [
    /^helps/,
    /^answers are right more often than the base's: accuracy \+0\.2000 [^,]*\.$/,
  ]);
  const toGuess = (value: number) => ({
    ...form,
    minusUniformGuess: { ...nll(1), accuracy: around(value, 0.05) },
  });
  const rise = { ...nll(-1), accuracy: around(0.2, 0.1) };
  t.match(
    verdictSentences(rise, { rows: 9, form: toGuess(0.04) }).at(-1),
    /base's: .*, but no more often than by guessing: accuracy \+0\.0400/,
  );
  t.match(
    verdictSentences(rise, { rows: 9, form: toGuess(0.1) }).at(-1),
    /base's: .*, and more often than by guessing: accuracy \+0\.1000/,
  );
  const none = verdictSentences({ ...nll(0), accuracy: around(0.01, 0.05) }, { rows: 9, form });
  t.match(none, [/^no difference seen with 9 rows/]);
  t.equal(none.length, 1);
  t.end();
});
