/** Which prompts make which condition: from the prompts of a request to N indices an adapter, seeded and repeatable. */
import { drawWithoutReplacement, drawWithReplacement, seededRandom } from '../base/random.ts';
import { promptErrors } from './errors.ts';

/** The outcome of {@link drawPrompts}, as it goes into a job's payload. */
export type PromptDraw = {
  /** The distinct texts that were drawn, in the order of their first use. */
  readonly prompts: string[];
  /** For each adapter, N indices into `prompts` in condition order (the order matters numerically, spec §1.1). */
  readonly draws: number[][];
  /** Sentences for the client; they hold numbers, never prompt text. */
  readonly warnings: string[];
};

/** What {@link drawPrompts} is asked for. */
export type DrawRequest = {
  /** At least one; the same text twice is two prompts to draw from, and one text to encode. */
  readonly given: readonly string[];
  /** N: prompts a condition of the bundle is made of. */
  readonly wanted: number;
  /** Adapters, one draw each. */
  readonly count: number;
  /** 0…2³²−1. All draws come from one stream of this seed, so adapter k is the same whatever `count` is. */
  readonly seed: number;
  /** Refuses fewer than N prompts, as the paper's own generation does, instead of repeating some. Default false. */
  readonly strict?: boolean;
};

/**
 * Draws N prompts for each adapter. Exactly N given: the first adapter takes them in the order given, each further one
 * in a random order. More: N without replacement, in draw order. Fewer: every prompt once and the rest with
 * replacement, in random order, with a warning; with `strict`, `too-few-prompts` instead. A text that is there twice is as likely again (spec §1.1 draws
 * rows); where at least half are duplicates, a warning tells the numbers.
 */
export function drawPrompts({ given, wanted, count, seed, strict = false }: DrawRequest): PromptDraw {
  const random = seededRandom(seed);
  const warnings: string[] = [];
  if (given.length < wanted && strict) {
    throw promptErrors.tooFew(`The model takes ${wanted} prompts, the request has ${given.length}.`, {
      fields: [{ pointer: '/prompts', message: `must have at least ${wanted} items` }],
    });
  }
  const distinct = new Set(given).size;
  if (given.length > 1 && distinct * 2 <= given.length) {
    warnings.push(
      distinct === 1
        ? `All ${given.length} prompts are the same text.`
        : `Of ${given.length} prompts ${distinct} are distinct: most are duplicates, and the draw does not prefer distinct ones.`,
    );
  }
  if (given.length < wanted) {
    warnings.push(
      `The model takes ${wanted} prompts, the request has ${given.length}: prompts were repeated at random.`,
    );
  }
  const drawOne = (adapter: number): number[] => {
    if (given.length === wanted && adapter === 0) return given.map((_, index) => index);
    if (given.length >= wanted) return drawWithoutReplacement(random, given.length, wanted);
    const picks = [...given.keys(), ...drawWithReplacement(random, given.length, wanted - given.length)];
    return drawWithoutReplacement(random, wanted, wanted).map((place) => picks[place]!);
  };
  const indices = new Map<string, number>();
  const draws = Array.from({ length: count }, (_, adapter) =>
    drawOne(adapter).map((pick) => {
      const text = given[pick]!;
      const index = indices.get(text) ?? indices.size;
      indices.set(text, index);
      return index;
    }),
  );
  return { prompts: [...indices.keys()], draws, warnings };
}
