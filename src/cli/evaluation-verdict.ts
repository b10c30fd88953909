/** What the figures of an evaluation amount to, in sentences. */
import type { FormComparison } from '../evaluation/form.ts';
import { type Estimate, type Figures, type Verdict, verdictOf } from '../evaluation/statistics.ts';

/** The verdict on adapters: their effect on the NLL, what was gained of it, and their effect on the share of right answers. */
export function verdictSentences(
  difference: Figures,
  { rows, form }: { rows: number; form?: Pick<FormComparison, GainKeys> | undefined },
): string[] {
  const word = verdictOf(difference);
  return [
    effectOf(word, difference.nll, rows),
    ...(word === 'helps' && form ? [gainOf(form, rows)] : []),
    ...(difference.accuracy ? accuracyOf(difference.accuracy, form?.minusUniformGuess.accuracy) : []),
  ];
}

type GainKeys = 'rows' | 'gain' | 'minusUniformGuess' | 'minusBaseHeldToChoices';

function effectOf(word: Verdict, { value, low, high }: Estimate, rows: number): string {
  return word === 'no difference seen'
    ? `no difference seen with ${rows} rows: the adapters change the NLL by ${signed(value)} nats a token, 95 % interval ${signed(low)} to ${signed(high)}.`
    : `${word}: the adapters ${word === 'helps' ? 'lower' : 'raise'} the NLL by ${Math.abs(value).toFixed(4)} nats a token (95 % interval ${signed(low)} to ${signed(high)}, ${rows} rows).`;
}

function gainOf(form: Pick<FormComparison, GainKeys>, rows: number): string {
  const where = form.rows < rows ? `on the ${form.rows} rows with choices, ` : '';
  const guess = compared(form.minusUniformGuess, 'guessing in the right form');
  const held = compared(form.minusBaseHeldToChoices, 'the base held to the listed choices');
  if (form.gain === 'more than form') return `more than form: ${where}${guess}, and ${held}.`;
  // A guess that does as well says it all; where the adapters beat it, the base does as well once it is given the form.
  const why = verdictOf(form.minusUniformGuess) === 'helps' ? `${guess}, but ${held}` : guess;
  return `what was gained is form alone: ${where}${why}.`;
}

function compared(difference: Figures, other: string): string {
  const { value, low, high } = difference.nll;
  const word = { helps: 'better than', harms: 'worse than', 'no difference seen': 'as good as' };
  return `${word[verdictOf(difference)]} ${other} (NLL ${signed(value)}, 95 % interval ${signed(low)} to ${signed(high)})`;
}

/** Nothing where the interval holds 0. More right answers than the base's may still be no more than a guess has. */
function accuracyOf(toBase: Estimate, toGuess: Estimate | undefined): string[] {
  if (toBase.low <= 0 && toBase.high >= 0) return [];
  const change = ({ value, low, high }: Estimate) =>
    `accuracy ${signed(value)} (95 % interval ${signed(low)} to ${signed(high)})`;
  if (toBase.value < 0) return [`answers are right less often: ${change(toBase)}.`];
  const guess =
    toGuess && `, ${toGuess.low > 0 ? 'and' : 'but no'} more often than by guessing: ${change(toGuess)}`;
  return [`answers are right more often than the base's: ${change(toBase)}${guess ?? ''}.`];
}

/** A difference with its sign, four decimals. */
export const signed = (value: number) => `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(4)}`;
