/** How much of an answer's likelihood is its form: what the listed choices alone are worth, and whether adapters bring more. */
import { type Figures, pairedDifference, type RowScore, verdictOf } from './statistics.ts';

/** Adapters compared with the form of the answers alone, over the rows with choices. Differences are paired, row by row. */
export type FormComparison = {
  /** Rows with choices. */
  readonly rows: number;
  /** The scores of {@link uniformGuess} and {@link heldToChoices}. */
  readonly uniformGuess: readonly RowScore[];
  readonly baseHeldToChoices: readonly RowScore[];
  /** Below 0 in NLL: the adapters are better than a guess that knows the form and nothing else. */
  readonly minusUniformGuess: Figures;
  /** Below 0 in NLL: the adapters are better than the base would be with the form for nothing. */
  readonly minusBaseHeldToChoices: Figures;
  readonly gain: Gain;
};

/** Whether adapters are better than both a guess in the right form and the base held to the choices, with intervals below 0. */
export type Gain = 'more than form' | 'form alone';

/** A row that lists its choices. */
type ChoiceScore = RowScore & { readonly choices: NonNullable<RowScore['choices']> };

const hasChoices = (score: RowScore): score is ChoiceScore => score.choices !== undefined;

/**
 * The rows with choices as scored by a guess that knows the form and nothing else: every listed choice is equally likely and
 * no other answer is possible, so a row costs ln(choices) nats, spread over the tokens of its answer.
 */
export function uniformGuess(scores: readonly RowScore[]): RowScore[] {
  return scores.filter(hasChoices).map(({ tokens, choices }) => ({
    tokens,
    nll: Math.log(choices.count),
    correct: 1 / choices.count,
  }));
}

/**
 * The rows with choices as the same model scores when it can answer nothing but the listed choices: the likelihoods of
 * the whole choices are divided by their sum. The form then costs nothing, and which choice is the likeliest stays as it was.
 */
export function heldToChoices(scores: readonly RowScore[]): RowScore[] {
  return scores.filter(hasChoices).map(({ tokens, correct, choices }) => ({
    tokens,
    nll: choices.nll,
    ...(correct !== undefined && { correct }),
  }));
}

/** Compares adapters with the form alone. Undefined where no row has choices. */
export function compareWithForm(
  base: readonly RowScore[],
  adapted: readonly RowScore[],
  seed: number,
): FormComparison | undefined {
  const guess = uniformGuess(base);
  if (guess.length === 0) return undefined;
  const held = heldToChoices(base);
  const own = adapted.filter(hasChoices);
  const minusUniformGuess = pairedDifference(guess, own, seed);
  const minusBaseHeldToChoices = pairedDifference(held, own, seed);
  const isBetter = [minusUniformGuess, minusBaseHeldToChoices].every((each) => verdictOf(each) === 'helps');
  return {
    rows: guess.length,
    uniformGuess: guess,
    baseHeldToChoices: held,
    minusUniformGuess,
    minusBaseHeldToChoices,
    gain: isBetter ? 'more than form' : 'form alone',
  };
}
