/** Seeded randomness that is the same on every machine and Node version. */
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';
import type { RandomGenerator } from 'pure-rand/types/RandomGenerator';
import { sha256 } from './digest.ts';

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

/** A random sequence whose numbers can be had from any place on, without those before. */
export type IndexedRandom = {
  /** Fills the array with the numbers `from`, `from + 1` …, below 2³²: uniform, mean 0, with the given standard deviation. */
  fill(values: Float32Array, from: number, deviation: number): void;
};

/**
 * The sequence of a seed and a name; other names give unrelated ones. It is a hash of the index (two rounds of
 * multiply and xor-shift, the constants of lowbias32) and so several times faster than a generator with a state, which
 * counts where a billion weights are drawn.
 */
export function indexedRandom(seed: number, name: string): IndexedRandom {
  const digest = sha256(`${seed}/${name}`);
  const key = (at: number) => Number.parseInt(digest.slice(at, at + 8), 16) | 0;
  const [first, second] = [key(0), key(8)];
  return {
    fill(values, from, deviation) {
      const scale = (deviation * Math.sqrt(3)) / 2 ** 31;
      for (let i = 0; i < values.length; i++) {
        let x = (from + i) ^ first;
        x = Math.imul(x ^ (x >>> 16), 0x21f0aaad);
        x = ((x ^ (x >>> 15)) + second) | 0;
        x = Math.imul(x, 0x735a2d97);
        values[i] = (x ^ (x >>> 15)) * scale;
      }
    },
  };
}
