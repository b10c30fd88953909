import { test } from 'tap';
import { exponential, makeArrivals } from '../../bench/fleet/arrivals.ts';
import { percentiles, planLoad } from '../../bench/fleet/plan.ts';
import { simulateFleet } from '../../bench/fleet/simulate.ts';
import { seededRandom } from '../../src/base/random.ts';

const JOBS = 200_000;
const MEAN_MS = 100;

const mean = (values: Float64Array) => values.reduce((sum, value) => sum + value, 0) / values.length;
const close = (found: number, wanted: number, share: number) => Math.abs(found - wanted) <= share * wanted;

/** Waits of workers that hold one job each, with nothing but their engine. */
function waitsOf(workers: number, utilisation: number, engineMs: () => number): Float64Array {
  const perSecond = (utilisation * workers * 1000) / MEAN_MS;
  const arrivals = makeArrivals({ count: JOBS, perSecond, seed: 1 });
  const service = () => ({ overheadMs: 0, engineMs: engineMs(), handOverMs: 0, storeMs: 0 });
  return simulateFleet({ workers, concurrency: 1, arrivals, service }).waits;
}

/** Erlang C: the share of arrivals that wait. */
function waiting(workers: number, utilisation: number): number {
  const offered = workers * utilisation;
  let [term, sum] = [1, 1];
  for (let busy = 1; busy < workers; busy++) {
    term *= offered / busy;
    sum += term;
  }
  const last = (term * offered) / workers / (1 - utilisation);
  return last / (sum + last);
}

test('waits are those of M/M/c', (t) => {
  for (const [workers, utilisation] of [
    [1, 0.5],
    [1, 0.8],
    [4, 0.7],
    [50, 0.9],
  ] as const) {
    const random = seededRandom(7);
    const waits = waitsOf(workers, utilisation, () => MEAN_MS * exponential(random));
    const share = waiting(workers, utilisation);
    const label = `${workers} workers at ${utilisation}`;
    const held = waits.filter((wait) => wait > 0).length / JOBS;
    t.ok(close(held, share, 0.05), `${label}: ${held} wait, ${share} should`);
    const meanMs = (share * MEAN_MS) / (workers * (1 - utilisation));
    t.ok(close(mean(waits), meanMs, 0.1), `${label}: ${mean(waits)} ms, ${meanMs} in theory`);
    if (share < 0.05) continue;
    // The waits of those who wait are exponential.
    const p95Ms = (MEAN_MS / (workers * (1 - utilisation))) * Math.log(share / 0.05);
    const [found] = percentiles(waits, [0.95]);
    t.ok(close(found!, p95Ms, 0.1), `${label}: 95 % within ${found} ms, ${p95Ms} in theory`);
  }
  t.end();
});

test('waits are those of M/D/1', (t) => {
  for (const utilisation of [0.5, 0.85]) {
    const found = mean(waitsOf(1, utilisation, () => MEAN_MS));
    const wanted = (utilisation * MEAN_MS) / (2 * (1 - utilisation));
    t.ok(close(found, wanted, 0.05), `${found} ms at ${utilisation}, ${wanted} in theory`);
  }
  t.end();
});

test('a worker stores one job while its engine does the next, and holds no more than it may', (t) => {
  const arrivals = Float64Array.from([0, 0, 0]);
  const of = (concurrency: number, { workers = 1, handOverMs = 0 } = {}) => {
    const service = () => ({ overheadMs: 0, engineMs: 100, handOverMs, storeMs: 50 });
    return simulateFleet({ workers, concurrency, arrivals, service });
  };
  t.strictSame([...of(1).waits], [0, 150, 300]);
  t.strictSame(
    [...of(4, { handOverMs: 20 }).waits],
    [0, 120, 240],
    'an engine is free before the next job comes to it',
  );
  t.strictSame([...of(2).waits], [0, 100, 200]);
  t.strictSame([...of(3).sojourns], [150, 250, 350]);
  t.strictSame(
    [...of(4, { workers: 2 }).waits],
    [0, 0, 100],
    'the one who has asked for the longest gets the next job',
  );
  t.end();
});

test('arrivals keep their mean, whatever their shape, and a seed gives the same ones again', (t) => {
  for (const shape of ['steady', 'day', 'bursts'] as const) {
    const times = makeArrivals({ count: 1_000_000, perSecond: 1_000_000 / 86_400, shape, seed: 3 });
    t.ok(close(times.at(-1)!, 86_400_000, 0.02), `${shape}: a million in ${times.at(-1)} ms`);
    t.ok(
      times.every((time, at) => at === 0 || time >= times[at - 1]!),
      shape,
    );
    const again = makeArrivals({ count: 100, perSecond: 1, shape, seed: 3 });
    t.strictSame(again, makeArrivals({ count: 100, perSecond: 1, shape, seed: 3 }));
  }
  t.end();
});

test('the fewest workers that keep a wait are found, for one and for hundreds', (t) => {
  const samples = [{ overheadMs: 10, engineMs: 400, handOverMs: 0, storeMs: 50 }];
  const wanted = { samples, concurrency: 4, jobs: 20_000, seed: 1 };
  for (const perSecond of [1, 10, 1000]) {
    const found = planLoad({ ...wanted, perSecond })(2000)!;
    t.ok(found.p95Ms <= 2000);
    t.ok(found.workers >= perSecond * 0.4, `${found.workers} workers for ${perSecond} jobs a second`);
    t.ok(found.workers < perSecond * 0.4 * 1.3 + 3);
  }
  t.equal(planLoad({ ...wanted, perSecond: 10_000 })(2000), undefined, 'a thousand are not enough');
  t.end();
});
