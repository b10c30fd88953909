/** Workers that a load needs. */
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { seededRandom } from '../../src/base/random.ts';
import { makeArrivals, type Shape } from './arrivals.ts';
import { type Service, simulateFleet } from './simulate.ts';

/** Fewest jobs of a simulated load: with fewer, the rare long waits differ from seed to seed. */
const MIN_JOBS = 50_000;
/** Time that a load lasts at least: a fleet that is too small by a little shows it slowly. */
const MIN_SECONDS = 600;
/** Jobs of a day at the rate that most tables are made for, and the most that are simulated. */
const MAX_JOBS = 1_000_000;
/** Workers that a search goes up to. */
export const MAX_WORKERS = 1000;
/** Share of the jobs that is left out at the beginning, while the fleet fills. */
const WARM_UP = 0.05;

/** Values by rank; `share` 0.95 is the 95th percentile. The first twentieth, in the order of arrival, is left out. */
export function percentiles(values: Float64Array, shares: readonly number[]): number[] {
  const sorted = values.slice(Math.floor(values.length * WARM_UP)).sort();
  return shares.map((share) => sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)]!);
}

/** A service time for each job: one of those measured, drawn with the seed. */
export function drawServices(samples: readonly Service[], seed: number): (job: number) => Service {
  const random = seededRandom(seed);
  return () => samples[uniformInt(random, 0, samples.length - 1)]!;
}

/** A load. */
export type Load = {
  readonly perSecond: number;
  readonly shape?: Shape;
  readonly samples: readonly Service[];
  readonly concurrency: number;
  /** Jobs that are simulated. */
  readonly jobs?: number;
  readonly seed: number;
};

/** A number of workers, and the waits with them. */
export type Plan = { readonly workers: number; readonly p50Ms: number; readonly p95Ms: number };

/**
 * A function from a wait to the fewest workers whose 95th percentile of waits is at most that; undefined beyond
 * {@link MAX_WORKERS}. What was simulated for one wait is not simulated again for another.
 */
export function planLoad(load: Load): (p95WaitMs: number) => Plan | undefined {
  const { perSecond, shape, samples, concurrency, seed } = load;
  const jobs = load.jobs ?? Math.min(MAX_JOBS, Math.max(MIN_JOBS, Math.ceil(perSecond * MIN_SECONDS)));
  const busyMs =
    samples.reduce((sum, sample) => sum + sample.engineMs + sample.handOverMs, 0) / samples.length;
  // With fewer the queue only grows.
  const least = Math.floor((perSecond * busyMs) / 1000) + 1;
  if (least > MAX_WORKERS) return () => undefined;
  const arrivals = makeArrivals({ count: jobs, perSecond, seed, ...(shape && { shape }) });
  const known = new Map<number, Plan>();
  const simulate = (workers: number): Plan => {
    const service = drawServices(samples, seed + 1);
    const { waits } = simulateFleet({ workers, concurrency, arrivals, service });
    const [p50Ms, p95Ms] = percentiles(waits, [0.5, 0.95]);
    const plan = { workers, p50Ms: p50Ms!, p95Ms: p95Ms! };
    known.set(workers, plan);
    return plan;
  };
  const of = (workers: number) => known.get(workers) ?? simulate(workers);
  return (p95WaitMs) => {
    let [low, high] = [least, least];
    for (let step = 1; high < MAX_WORKERS && of(high).p95Ms > p95WaitMs; step *= 2) {
      low = high + 1;
      high = Math.min(MAX_WORKERS, high + step);
    }
    if (of(high).p95Ms > p95WaitMs) return undefined;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (of(middle).p95Ms > p95WaitMs) low = middle + 1;
      else high = middle;
    }
    return of(high);
  };
}
