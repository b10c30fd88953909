import { test } from 'tap';
import { answerLikelihoods, type TokenReader } from '../../src/evaluation/likelihoods.ts';

/** A model whose next-token probabilities depend on all tokens before; it counts what it reads. */
function fakeModel() {
  const probability = (before: readonly number[], token: number) =>
    1 / (2 + before.reduce((sum, value, index) => sum + value * (index + 1), token));
  let seen: number[] = [];
  const counts = { read: 0, distributions: 0 };
  const reader: TokenReader = {
    get seen() {
      return seen;
    },
    async keep(length) {
      seen = seen.slice(0, length);
    },
    async read(tokens, wanted, onDistribution) {
      for (const [place, token] of tokens.entries()) {
        seen.push(token);
        counts.read += 1;
        if (!wanted.has(place)) continue;
        counts.distributions += 1;
        onDistribution(place, new Map([...Array(20).keys()].map((next) => [next, probability(seen, next)])));
      }
    },
  };
  const wanted = (prompt: readonly number[], answer: readonly number[]) =>
    answer.reduce(
      (sum, token, place) => sum + Math.log(probability([...prompt, ...answer.slice(0, place)], token)),
      0,
    );
  return { reader, counts, wanted };
}

test('answers of any overlap get their likelihoods, and shared parts are read once', async (t) => {
  const { reader, counts, wanted } = fakeModel();
  const prompt = [4, 5, 6, 7];
  const answers = [
    [1, 2, 9],
    [1, 3, 9],
    [1, 9],
    [8, 1, 2, 9],
    [1, 2, 9, 9],
  ];
  const found = await answerLikelihoods(reader, prompt, answers);
  for (const [index, answer] of answers.entries()) {
    t.ok(Math.abs(found[index]! - wanted(prompt, answer)) < 1e-9, answer.join());
  }
  t.equal(counts.distributions, 8, 'one for each node of the tree');
  t.ok(counts.read <= 4 + 2 + 1 + 3 + 3, `${counts.read} tokens`);

  const before = counts.read;
  const next = await answerLikelihoods(reader, [4, 5, 6, 3], [[1, 9]]);
  t.ok(Math.abs(next[0]! - wanted([4, 5, 6, 3], [1, 9])) < 1e-9);
  t.equal(counts.read - before, 2, 'what prompts have in common is kept');
  await answerLikelihoods(reader, [4, 5], [[9]]);
  t.equal(reader.seen.length, 2, 'a prompt inside the one before is read again from its end');
});

test('what is next to impossible costs a finite price', async (t) => {
  const { reader } = fakeModel();
  const [likelihood] = await answerLikelihoods(reader, [1], [[99]]);
  t.ok(Number.isFinite(likelihood) && likelihood! < -100);
});
