import { test } from 'tap';
import { drawPrompts } from '../../src/prompts/draw-prompts.ts';

const numbered = (count: number) => Array.from({ length: count }, (_, index) => `prompt ${index}`);
const textsOf = ({ prompts, draws }: ReturnType<typeof drawPrompts>, adapter = 0) =>
  draws[adapter]!.map((index) => prompts[index]!);
const sorted = (texts: readonly string[]) => [...texts].sort();

test('exactly N keep the order given; further adapters take permutations', async (t) => {
  const given = numbered(16);
  const draw = drawPrompts({ given, wanted: 16, count: 3, seed: 5 });
  t.strictSame(textsOf(draw), given);
  t.strictSame(draw.warnings, []);
  for (const adapter of [1, 2]) {
    t.strictSame(sorted(textsOf(draw, adapter)), sorted(given), 'the same prompts');
    t.notSame(textsOf(draw, adapter), given, 'in another order');
  }
  t.notSame(textsOf(draw, 1), textsOf(draw, 2));
});

test('more than N are drawn without replacement', async (t) => {
  const given = numbered(100);
  const draw = drawPrompts({ given, wanted: 10, count: 20, seed: 1 });
  for (const adapter of draw.draws.keys()) {
    const texts = textsOf(draw, adapter);
    t.equal(texts.length, 10);
    t.equal(new Set(texts).size, 10, 'no prompt twice');
    t.ok(texts.every((text) => given.includes(text)));
  }
  t.strictSame(draw.warnings, []);
  t.equal(new Set(draw.prompts).size, draw.prompts.length, 'each text once');
  t.strictSame(draw.prompts, [...new Set(draw.draws.keys().flatMap((adapter) => textsOf(draw, adapter)))]);
});

test('draws are uniform over the prompts and over the places', async (t) => {
  const given = numbered(5);
  const draw = drawPrompts({ given, wanted: 2, count: 4000, seed: 77 });
  for (const place of [0, 1]) {
    for (const prompt of given) {
      const share = draw.draws.filter((one) => draw.prompts[one[place]!] === prompt).length / 4000;
      // 1/5 ± 5 standard deviations of a binomial with n = 4000.
      t.ok(Math.abs(share - 0.2) < 0.032, `${prompt} at ${place}: ${share}`);
    }
  }
});

test('fewer than N are resampled: everyone at least once, and both numbers are named', async (t) => {
  const given = numbered(3);
  const draw = drawPrompts({ given, wanted: 8, count: 2, seed: 9 });
  for (const adapter of [0, 1]) {
    t.equal(textsOf(draw, adapter).length, 8);
    t.strictSame(sorted([...new Set(textsOf(draw, adapter))]), given);
  }
  t.equal(draw.warnings.length, 1);
  t.match(draw.warnings[0], /8.*3/);
  t.strictSame(textsOf(drawPrompts({ given: ['one'], wanted: 4, count: 1, seed: 0 })), Array(4).fill('one'));
});

test('fewer than N are refused where that is asked for, and nothing else is', async (t) => {
  const request = { wanted: 8, count: 2, seed: 9, strict: true };
  t.throws(() => drawPrompts({ ...request, given: numbered(7) }), {
    code: 'too-few-prompts',
    message: 'The model takes 8 prompts, the request has 7.',
    fields: [{ pointer: '/prompts', message: 'must have at least 8 items' }],
  });
  for (const size of [8, 9]) {
    const given = numbered(size);
    t.strictSame(drawPrompts({ ...request, given }), drawPrompts({ ...request, given, strict: false }));
  }
});

test('a text given twice counts twice for N and is kept once', async (t) => {
  const draw = drawPrompts({ given: ['a', 'b', 'a'], wanted: 3, count: 1, seed: 0 });
  t.strictSame(draw, { prompts: ['a', 'b'], draws: [[0, 1, 0]], warnings: [] });
});

test('one seed gives one outcome, and adapter k does not depend on count', async (t) => {
  for (const size of [4, 16, 40]) {
    const request = { given: numbered(size), wanted: 16, seed: 123 };
    const five = drawPrompts({ ...request, count: 5 });
    t.strictSame(drawPrompts({ ...request, count: 5 }), five);
    const two = drawPrompts({ ...request, count: 2 });
    t.strictSame(textsOf(two, 1), textsOf(five, 1));
    t.notSame(textsOf(drawPrompts({ ...request, count: 5, seed: 124 }), 1), textsOf(five, 1));
  }
});
