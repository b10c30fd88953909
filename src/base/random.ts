/** Seeded randomness that is the same on every machine and Node version. */
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';
import type { RandomGenerator } from 'pure-rand/types/RandomGenerator';

/** Largest seed a request may carry (unsigned 32 bits). */
export const MAX_SEED = 0xffff_ffff;

/** Numbers thrown away at the start: the first ones of neighbouring seeds count up with the seed (measured; 8 are enough). */
const WARM_UP = 32;

/** A generator for a seed in 0…{@link MAX_SEED}. It is mutable: each call below advances it. */
export function seededRandom(seed: number): RandomGenerator {
  const random = xoroshiro128plus(seed | 0);
  for (let i = 0; i < WARM_UP; i++) random.next();
  return random;
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

/** Fills the array with independent numbers of mean 0 and the given standard deviation, uniformly: exact on every machine. */
export function fillUniform(random: RandomGenerator, values: Float32Array, deviation: number): void {
  const scale = (deviation * Math.sqrt(3)) / 2 ** 31;
  for (let i = 0; i < values.length; i++) values[i] = random.next() * scale;
}
