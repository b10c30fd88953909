/** How many workers does a load need, and which part of the fleet bends first? */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { buildUntrainedBundle } from '../test/helpers/untrained-bundle.ts';
import { makeArrivals, type Shape } from './fleet/arrivals.ts';
import { type Driven, driveAt, driveOneByOne, redisUse } from './fleet/drive.ts';
import { drawServices, MAX_WORKERS, percentiles, planLoad } from './fleet/plan.ts';
import { type RunningFleet, startFleet } from './fleet/processes.ts';
import { type Service, simulateFleet } from './fleet/simulate.ts';
import { type Benchmark, median } from './report.ts';

/** As the setting has it by default. */
const CONCURRENCY = 4;
const WARM_UP_JOBS = 5;
const CALIBRATION_JOBS = 20;
const IDLE_MS = 5000;
/** Simulated runs of a measured load, each with other draws of the service times. */
const REPLICAS = 200;
const LOADS = [0.5, 0.7, 0.85];
const DAY_SECONDS = 86_400;

const seconds = (ms: number) => (ms < 10_000 ? `${(ms / 1000).toFixed(2)} s` : `${(ms / 1000).toFixed(0)} s`);
const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** What was measured before a load: jobs that were alone, and milliseconds that an engine is idle between two of many. */
type Calibration = { readonly alone: readonly Driven[]; readonly handOverMs: number };

/** What the jobs took, with the overhead that a job has when nothing else is there. */
const samplesOf = (driven: readonly Driven[], { alone, handOverMs }: Calibration): Service[] => {
  const overheadMs = median(alone.map(({ waitMs }) => waitMs));
  return driven.map(({ engineMs, storeMs }) => ({ engineMs, handOverMs, storeMs, overheadMs }));
};

/** The time of jobs that came all at once, less what their engines did. */
async function measureHandOver(fleet: RunningFleet, workers: number): Promise<number> {
  const jobs = CALIBRATION_JOBS * workers;
  const driven = await driveAt(fleet, new Float64Array(jobs));
  const first = Math.min(...driven.map(({ waitMs }) => waitMs));
  const last = Math.max(...driven.map(({ waitMs, engineMs }) => waitMs + engineMs));
  const engineMs = mean(driven.map((job) => job.engineMs));
  return Math.max(0, (last - first) / CALIBRATION_JOBS - engineMs);
}

/** Runs `work` against a fleet that has done a few jobs. */
async function withFleet<T>(
  workers: number,
  work: (fleet: RunningFleet, calibration: Calibration) => Promise<T>,
): Promise<T> {
  const bundles = await mkdtemp(join(tmpdir(), 'loradrop-bench-'));
  await buildUntrainedBundle({ out: join(bundles, 'untrained'), seed: 0 });
  const fleet = await startFleet({ workers, bundles, concurrency: CONCURRENCY });
  try {
    await driveOneByOne(fleet, WARM_UP_JOBS * workers);
    const alone = await driveOneByOne(fleet, CALIBRATION_JOBS);
    return await work(fleet, { alone, handOverMs: await measureHandOver(fleet, workers) });
  } finally {
    await fleet.close();
    await rm(bundles, { recursive: true, force: true });
  }
}

/** Waits of a real fleet beside those of the simulation. */
export const fleetCheck: Benchmark = {
  question: `waits for the engine as simulated and as measured: --jobs at random times (Poisson) on an API, Redis, versitygw and workers of one thread, each a process; in brackets where nine of ten simulated runs lie`,
  columns: [
    'workers',
    'engine, mean',
    'between two',
    'busy',
    'p50 simulated',
    'p50 measured',
    'p95 simulated',
    'p95 measured',
  ],
  onRequest: true,
  async run({ jobs }) {
    const rows: string[][] = [];
    for (const workers of [1, 2]) {
      rows.push(
        ...(await withFleet(workers, async (fleet, calibration) => {
          const measured: string[][] = [];
          for (const load of LOADS)
            measured.push(await checkLoad(fleet, { workers, load, jobs, calibration }));
          return measured;
        })),
      );
    }
    return rows;
  },
};

async function checkLoad(
  fleet: RunningFleet,
  options: { workers: number; load: number; jobs: number; calibration: Calibration },
): Promise<string[]> {
  const { workers, load, jobs, calibration } = options;
  const aloneMs = mean(calibration.alone.map(({ engineMs }) => engineMs));
  const perSecond = (load * workers * 1000) / (aloneMs + calibration.handOverMs);
  const arrivals = makeArrivals({ count: jobs, perSecond, seed: Math.round(load * 100) });
  const driven = await driveAt(fleet, arrivals);
  // The times of the run itself: two workers on two cores take longer beside each other, which is not the queue's doing.
  const samples = samplesOf(driven, calibration);
  const runs = Array.from({ length: REPLICAS }, (_, run) =>
    percentiles(
      simulateFleet({ workers, concurrency: CONCURRENCY, arrivals, service: drawServices(samples, run) })
        .waits,
      [0.5, 0.95],
    ),
  );
  const measured = percentiles(
    Float64Array.from(driven, ({ waitMs }) => waitMs),
    [0.5, 0.95],
  );
  const shown = (at: 0 | 1) => {
    const values = runs.map((run) => run[at]!).sort((a, b) => a - b);
    const [low, high] = [0.05, 0.95].map((share) => values[Math.floor(share * REPLICAS)]!);
    return `${seconds(median(values))} (${seconds(low!)}–${seconds(high!)})`;
  };
  const engineMs = mean(driven.map((job) => job.engineMs));
  const busy = ((engineMs + calibration.handOverMs) * jobs) / (workers * arrivals.at(-1)!);
  return [
    String(workers),
    `${engineMs.toFixed(0)} ms`,
    `${calibration.handOverMs.toFixed(0)} ms`,
    `${(100 * busy).toFixed(0)} %`,
    shown(0),
    seconds(measured[0]!),
    shown(1),
    seconds(measured[1]!),
  ];
}

/** What a job costs the parts that all workers share, and how many jobs a second each can bear. */
export const fleetCosts: Benchmark = {
  question: `what one job costs the shared parts, from --jobs on one worker less what they do when idle, and the jobs a second at which one core of it (or what the row says) is full; at 10⁶ jobs a day there are ${(1e6 / DAY_SECONDS).toFixed(1)}`,
  columns: ['part', 'a job costs', 'idle, a second', 'full at, jobs / s', 'at 10⁶ jobs a day'],
  onRequest: true,
  async run({ jobs }) {
    return withFleet(1, async (fleet, { alone }) => {
      const look = async () => ({
        ...(await redisUse(fleet.redisUrl)),
        api: await fleet.apiCpuSeconds(),
        requests: fleet.storeRequests(),
        at: performance.now(),
      });
      const first = await look();
      await delay(IDLE_MS);
      const second = await look();
      const idle = (pick: (use: typeof first) => number) =>
        (1000 * (pick(second) - pick(first))) / (second.at - first.at);
      const perSecond = 700 / mean(alone.map(({ engineMs }) => engineMs));
      const driven = await driveAt(fleet, makeArrivals({ count: jobs, perSecond, seed: 1 }));
      const last = await look();
      const perJob = (pick: (use: typeof first) => number) =>
        Math.max(0, pick(last) - pick(second) - (idle(pick) * (last.at - second.at)) / 1000) / jobs;
      const share = (full: number) => `${((100 * 1e6) / DAY_SECONDS / full).toFixed(1)} %`;
      const core = (name: string, use: string, pick: (use: typeof first) => number, idleUse: string) => {
        const full = 1 / perJob(pick);
        const cost = `${(1000 * perJob(pick)).toFixed(1)} ms of a core${use}`;
        return [name, cost, idleUse, full.toFixed(0), share(full)];
      };
      const count = (pick: (use: typeof first) => number) => perJob(pick).toFixed(0);
      const idleCount = (pick: (use: typeof first) => number) => idle(pick).toFixed(1);
      const bytes = mean(driven.map((job) => job.bytes));
      const gigabit = 1.25e8;
      return [
        core(
          'Redis',
          `, ${count((use) => use.commands)} commands (those in scripts too), ${(perJob((use) => use.bytes) / 1000).toFixed(0)} kB`,
          (use) => use.cpuSeconds,
          `${idleCount((use) => use.commands)} commands`,
        ),
        core(
          'API process (accepting, following, one look at the end)',
          '',
          (use) => use.api,
          `${(1000 * idle((use) => use.api)).toFixed(1)} ms`,
        ),
        [
          'object storage, bandwidth of 1 Gbit/s',
          `${(bytes / 1e6).toFixed(1)} MB written`,
          '0',
          (gigabit / bytes).toFixed(0),
          share(gigabit / bytes),
        ],
        [
          'object storage, 3,500 writes a second and prefix (as AWS S3 says of itself)',
          `${perJob((use) => use.requests).toFixed(1)} requests`,
          idleCount((use) => use.requests),
          (3500 / perJob((use) => use.requests)).toFixed(0),
          share(3500 / perJob((use) => use.requests)),
        ],
      ];
    });
  },
};

const PER_DAY = [1e4, 1e5, 1e6, 1e7, 5e7, 1e8];
const P95_WAITS_MS = [1000, 5000, 30_000];

/** The workers that loads need, with the service times of the bundle that the benchmarks make. */
export const fleetPlan: Benchmark = {
  question: `workers needed, simulated with service times measured on one worker of one thread; a 95th percentile of waits of at most …; “–”: more than ${MAX_WORKERS}`,
  columns: ['jobs a day', 'a minute', 'coming', ...P95_WAITS_MS.map((ms) => `${ms / 1000} s`)],
  onRequest: true,
  async run() {
    const samples = await withFleet(1, async (_fleet, calibration) =>
      samplesOf(calibration.alone, calibration),
    );
    const loads: [number, Shape][] = [
      ...PER_DAY.map((perDay): [number, Shape] => [perDay, 'steady']),
      [1e6, 'day'],
      [1e6, 'bursts'],
    ];
    const engineMs = mean(samples.map((sample) => sample.engineMs + sample.handOverMs));
    return loads.map(([perDay, shape], row) => {
      // A day has to be whole for its peak to count as it does.
      const jobs = shape === 'day' ? { jobs: perDay } : {};
      const perSecond = perDay / DAY_SECONDS;
      const plan = planLoad({ perSecond, shape, samples, concurrency: CONCURRENCY, seed: 1, ...jobs });
      return [
        perDay.toLocaleString('en'),
        (perDay / 1440).toFixed(0),
        `${shape}${row === 0 ? ` (engine ${engineMs.toFixed(0)} ms a job)` : ''}`,
        ...P95_WAITS_MS.map((p95WaitMs) => String(plan(p95WaitMs)?.workers ?? '–')),
      ];
    });
  },
};
