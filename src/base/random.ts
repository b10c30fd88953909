/** Seeded randomness that is the same on every machine and Node version. */
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';
import type { RandomGenerator } from 'pure-rand/types/RandomGenerator';

/** Largest seed a request may carry (unsigned 32 bits). */
export const MAX_SEED = 0xffff_ffff;

/** A generator for a seed in 0…{@link MAX_SEED}. It is mutable: each call below advances it. */
export function seededRandom(seed: number): RandomGenerator {
  return xoroshiro128plus(seed | 0);
}

/** `count` different indices below `length`, uniformly, in draw order (a partial Fisher–Yates shuffle). */
export function drawWithoutReplacement(random: RandomGenerator, length: number, count: number): number[] {
  const pool = Array.from({ length }, (_, index) => index);
  for (let i = 0; i < count; i++) {
    const j = uniformInt(random, i, length - 1);
    [pool[i], pool[j]] = [pool[j]!, pool[i]!];
  }
  return pool.slice(0, count);
}

/** `count` indices below `length`, uniformly and independently. */
export function drawWithReplacement(random: RandomGenerator, length: number, count: number): number[] {
  return Array.from({ length: count }, () => uniformInt(random, 0, length - 1));
}

/** Fills the array with independent normal numbers of mean 0 and the given standard deviation (Box–Muller). */
export function fillNormal(random: RandomGenerator, values: Float32Array, deviation: number): void {
  for (let i = 0; i < values.length; i += 2) {
    const radius = deviation * Math.sqrt(-2 * Math.log((random.next() + 0x8000_0001) / 0x1_0000_0001));
    const angle = (2 * Math.PI * (random.next() + 0x8000_0000)) / 0x1_0000_0000;
    values[i] = radius * Math.cos(angle);
    if (i + 1 < values.length) values[i + 1] = radius * Math.sin(angle);
  }
}
