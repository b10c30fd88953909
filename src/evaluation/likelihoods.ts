/** Log-likelihoods of several answers to one prompt, with everything they share evaluated once. */

/** A vocabulary's probabilities at one place, by token. */
export type Distribution = ReadonlyMap<number, number>;

/** A model that has seen some tokens and can go back among them. */
export type TokenReader = {
  /** Tokens it has seen. */
  readonly seen: readonly number[];
  /** Forgets all but the first `length`. */
  keep(length: number): Promise<void>;
  /**
   * Sees further tokens, and hands `onDistribution` what may follow each of the `wanted` ones (places in `tokens`).
   */
  read(
    tokens: readonly number[],
    wanted: ReadonlySet<number>,
    onDistribution: (place: number, next: Distribution) => void,
  ): Promise<void>;
};

/**
 * The least probability that is told from none: half the smallest float32 there is. An answer costs at most 104 nats a token.
 */
const LEAST_PROBABILITY = 2 ** -150;

/**
 * The natural log-likelihood of each answer after the prompt, summed over its tokens. The answers are a tree: each of its
 * branches is read once, and so is what the prompt has in common with what the reader saw before. Both prompt and answers
 * have at least one token.
 */
export async function answerLikelihoods(
  reader: TokenReader,
  prompt: readonly number[],
  answers: readonly (readonly number[])[],
): Promise<number[]> {
  // By the answer tokens before it: the log-probability of each token that some answer goes on with.
  const known = new Map<string, Map<number, number>>();
  for (const answer of answers) {
    for (let place = 0; place < answer.length; place++) {
      const key = keyOf(answer, place);
      known.set(key, (known.get(key) ?? new Map<number, number>()).set(answer[place]!, Number.NaN));
    }
  }
  const found = new Set<string>();
  for (const answer of answers) {
    // The last token is asked about and never read.
    const tokens = [...prompt, ...answer.slice(0, -1)];
    const open = answer.map((_, place) => place).filter((place) => !found.has(keyOf(answer, place)));
    const [first] = open;
    if (first === undefined) continue;
    const start = Math.min(commonLength(reader.seen, tokens), prompt.length - 1 + first);
    await reader.keep(start);
    const wanted = new Set(open.map((place) => prompt.length - 1 + place - start));
    await reader.read(tokens.slice(start), wanted, (at, next) => {
      const key = keyOf(answer, at + start - prompt.length + 1);
      const logs = known.get(key)!;
      for (const token of logs.keys()) {
        logs.set(token, Math.log(Math.max(next.get(token) ?? 0, LEAST_PROBABILITY)));
      }
      found.add(key);
    });
  }
  return answers.map((answer) =>
    answer.reduce((sum, token, place) => sum + known.get(keyOf(answer, place))!.get(token)!, 0),
  );
}

/**
 * The NLL in nats of one of the answers if nothing else could be answered: their likelihoods, given as logarithms, divided by
 * their sum.
 */
export function nllAmong(likelihoods: readonly number[], index: number): number {
  // Relative to the largest, so that likelihoods too small for a number still compare.
  const largest = Math.max(...likelihoods);
  const sum = likelihoods.reduce((total, each) => total + Math.exp(each - largest), 0);
  return largest + Math.log(sum) - likelihoods[index]!;
}

const keyOf = (answer: readonly number[], place: number) => answer.slice(0, place).join();

function commonLength(a: readonly number[], b: readonly number[]): number {
  let length = 0;
  while (length < a.length && length < b.length && a[length] === b[length]) length++;
  return length;
}
