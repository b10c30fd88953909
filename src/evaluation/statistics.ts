/** What the scores of the same rows under two models say about their difference. */
import { drawWithReplacement, seededRandom } from '../base/random.ts';

/** How one row came out. Numbers of several adapters are averaged, so `correct` may be a fraction. */
export type RowScore = {
  /** Tokens of the answer, its end included. */
  readonly tokens: number;
  /** Negative log-likelihood of the whole answer, in nats. */
  readonly nll: number;
  /** 1 where the right one of the row's choices is the likeliest, 0 where not; absent without choices. */
  readonly correct?: number;
  /** How many choices the row lists, and the NLL of the right one among these alone, in nats; absent without choices. */
  readonly choices?: { readonly count: number; readonly nll: number };
};

/** A figure and its 95 % interval. */
export type Estimate = { readonly value: number; readonly low: number; readonly high: number };

/** The figures of one model, or of the difference of two. */
export type Figures = {
  /** Nats per answer token. */
  readonly nll: Estimate;
  /** Share of the rows with choices; absent where there are none. */
  readonly accuracy?: Estimate;
};

/** Which way the paired interval of the NLL difference lies: wholly below 0, wholly above, or neither. */
export type Verdict = 'helps' | 'harms' | 'no difference seen';

/** Resamples of the bootstrap: the ends of a 95 % interval then rest on 25 resamples each. */
export const RESAMPLES = 1000;

/** The mean over several adapters' scores of the same rows, row by row. */
export function meanScores(draws: readonly (readonly RowScore[])[]): RowScore[] {
  const [first = []] = draws;
  const mean = (index: number, read: (score: RowScore) => number) =>
    draws.reduce((sum, scores) => sum + read(scores[index]!), 0) / draws.length;
  return first.map(({ tokens, correct, choices }, index) => ({
    tokens,
    nll: mean(index, ({ nll }) => nll),
    ...(correct !== undefined && { correct: mean(index, (score) => score.correct!) }),
    ...(choices && {
      choices: { count: choices.count, nll: mean(index, (score) => score.choices!.nll) },
    }),
  }));
}

/** A model's figures; the interval is over the rows, drawn again with the seed. */
export function figures(scores: readonly RowScore[], seed: number): Figures {
  return bootstrap(
    scores.map(({ tokens, nll, correct }) => ({ tokens, nll, correct })),
    seed,
  );
}

/** The second model's figures minus the first's, row by row: what the rows have in common cancels out. */
export function pairedDifference(
  first: readonly RowScore[],
  second: readonly RowScore[],
  seed: number,
): Figures {
  return bootstrap(
    first.map(({ tokens, nll, correct }, index) => {
      const other = second[index]!;
      return {
        tokens,
        nll: other.nll - nll,
        correct: correct === undefined ? undefined : other.correct! - correct,
      };
    }),
    seed,
  );
}

/** What a difference to the untouched base amounts to. */
export function verdictOf({ nll: { low, high } }: Figures): Verdict {
  return high < 0 ? 'helps' : low > 0 ? 'harms' : 'no difference seen';
}

type Item = { readonly tokens: number; readonly nll: number; readonly correct: number | undefined };

/** Percentiles of both figures over resamples of the rows. */
function bootstrap(items: readonly Item[], seed: number): Figures {
  const all = [...items.keys()];
  const value = summed(items, all);
  const random = seededRandom(seed);
  const nll: number[] = [];
  const accuracy: number[] = [];
  for (let i = 0; i < RESAMPLES; i++) {
    const resample = summed(items, drawWithReplacement(random, items.length, items.length));
    nll.push(resample.nll);
    // A resample may happen to have no row with choices.
    if (resample.accuracy !== undefined) accuracy.push(resample.accuracy);
  }
  return {
    nll: estimate(value.nll, nll),
    ...(value.accuracy !== undefined && { accuracy: estimate(value.accuracy, accuracy) }),
  };
}

function summed(items: readonly Item[], picks: readonly number[]) {
  let [nll, tokens, correct, choices] = [0, 0, 0, 0];
  for (const pick of picks) {
    const item = items[pick]!;
    nll += item.nll;
    tokens += item.tokens;
    if (item.correct === undefined) continue;
    correct += item.correct;
    choices += 1;
  }
  return { nll: nll / tokens, accuracy: choices === 0 ? undefined : correct / choices };
}

function estimate(value: number, resampled: number[]): Estimate {
  const sorted = Float64Array.from(resampled).sort();
  return { value, low: quantile(sorted, 0.025), high: quantile(sorted, 0.975) };
}

/** Linear between the two nearest ranks. */
function quantile(sorted: Float64Array, share: number): number {
  const place = (sorted.length - 1) * share;
  const below = Math.floor(place);
  const low = sorted[below]!;
  return low + ((sorted[below + 1] ?? low) - low) * (place - below);
}
