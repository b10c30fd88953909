/** When jobs come. Seeded. */
import { uniformFloat64 } from 'pure-rand/distribution/uniformFloat64';
import type { RandomGenerator } from 'pure-rand/types/RandomGenerator';
import { seededRandom } from '../../src/base/random.ts';

/**
 * `steady`: a Poisson process. `day`: one whose rate follows a sine over 24 hours, from a fifth of the mean at night to 1.8
 * times the mean. `bursts`: clients that come as a Poisson process and send 20 jobs each at once, on average.
 */
export type Shape = 'steady' | 'day' | 'bursts';

const DAY_MS = 86_400_000;
/** How far the rate of a day goes above and below its mean. */
const SWING = 0.8;
const BURST_JOBS = 20;

/** A number above 0 with mean 1, exponentially distributed. */
export const exponential = (random: RandomGenerator) => -Math.log1p(-uniformFloat64(random));

/** Times of `count` jobs in milliseconds, `perSecond` of them on average. A day begins at its mean, before its peak. */
export function makeArrivals(options: {
  readonly count: number;
  readonly perSecond: number;
  readonly shape?: Shape;
  readonly seed: number;
}): Float64Array {
  const { count, perSecond, shape = 'steady', seed } = options;
  const random = seededRandom(seed);
  const times = new Float64Array(count);
  const meanMs = 1000 / perSecond;
  let at = 0;
  for (let job = 0; job < count; ) {
    if (shape === 'steady') {
      at += meanMs * exponential(random);
      times[job++] = at;
    } else if (shape === 'day') {
      // Thinning: a process at the highest rate, of which each is kept with the share that its time has of that.
      at += (meanMs / (1 + SWING)) * exponential(random);
      const share = (1 + SWING * Math.sin((2 * Math.PI * at) / DAY_MS)) / (1 + SWING);
      if (uniformFloat64(random) < share) times[job++] = at;
    } else {
      at += BURST_JOBS * meanMs * exponential(random);
      do times[job++] = at;
      while (job < count && uniformFloat64(random) > 1 / BURST_JOBS);
    }
  }
  return times;
}
