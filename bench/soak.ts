/** Does anything grow while the service works for a long time? */
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { DEFAULT_TENANT } from '../src/base/ids.ts';
import type { Job } from '../src/http/schemas.ts';
import { changeSecretFile, withFirstSecret } from '../src/webhooks/secret-file.ts';
import type { LoradropProcess } from '../test/helpers/loradrop-process.ts';
import { SECRET, startReceiver } from '../test/helpers/webhook-receiver.ts';
import type { BenchOptions } from './options.ts';
import { metricIn, metricsOf, withProcesses } from './processes.ts';
import { PROMPTS } from './prompts.ts';
import { type Benchmark, percentile } from './report.ts';

const JOBS_PER_SECOND = 3;
/** Records and adapters go while new ones come, so that what stays the same can be seen to stay. */
const RETENTION_SECONDS = 120;
const SAMPLES = 240;
const MIN_PAUSE_MS = 1000;
/** Samples left out: heaps and caches grow to their size first. */
const WARM_UP_SHARE = 1 / 3;
/** Below it slopes are mostly those of a heap that has not found its size. */
const TELLING_MINUTES = 20;

/** What is looked at: its name, its metric, how it is shown, and how much of it an hour is no growth. */
const LOOKED_AT = [
  { name: 'resident', metric: 'process_resident_memory_bytes', unit: 'MiB', scale: 2 ** 20, allowed: 16 },
  { name: 'heap', metric: 'nodejs_heap_size_used_bytes', unit: 'MiB', scale: 2 ** 20, allowed: 8 },
  {
    name: 'inference process',
    metric: 'loradrop_engine_resident_bytes',
    unit: 'MiB',
    scale: 2 ** 20,
    allowed: 16,
  },
  { name: 'open files', metric: 'process_open_fds', unit: '', scale: 1, allowed: 4 },
  { name: 'handles', metric: 'nodejs_active_handles_total', unit: '', scale: 1, allowed: 4 },
  {
    name: 'event-loop lag p99',
    metric: 'nodejs_eventloop_lag_p99_seconds',
    unit: 'ms',
    scale: 1e-3,
    allowed: 50,
  },
] as const;

type Sample = { readonly hours: number; readonly value: number };

export const soak: Benchmark = {
  question: `${JOBS_PER_SECOND} jobs a second with webhooks, half of them followed, for --minutes (default 30): what grows in an hour, by least squares over the samples after the first third (± two standard errors)`,
  columns: ['process', 'what', 'first', 'last', 'largest', 'slope / h', 'verdict'],
  onRequest: true,
  run: (options) => measure(options),
};

function measure({ minutes }: BenchOptions): Promise<string[][]> {
  return withProcesses('tiny', async ({ directory, redis, start }) => {
    const receiver = await startReceiver();
    try {
      const secrets = join(directory, 'webhook-secrets.json');
      await changeSecretFile(secrets, (before) =>
        withFirstSecret(before, { owner: DEFAULT_TENANT, secret: SECRET, now: Date.now() }),
      );
      const environment = {
        QUEUE_URL: await redis(),
        WEBHOOK_ALLOW: '127.0.0.1',
        WEBHOOK_SECRETS_FILE: secrets,
        RETENTION_SECONDS: String(RETENTION_SECONDS),
        MAX_RETENTION_SECONDS: String(RETENTION_SECONDS),
      };
      const processes = Object.entries({
        api: await start('serve', environment),
        worker: await start('worker', environment),
      });
      const samples = new Map<string, Sample[]>();
      const stopping = new AbortController();
      const work = keepWorking(processes[0]![1].url, receiver.url, stopping.signal);
      const startedAt = performance.now();
      const pauseMs = Math.max(MIN_PAUSE_MS, (minutes * 60_000) / SAMPLES);
      while (performance.now() - startedAt < minutes * 60_000) {
        await delay(pauseMs);
        for (const [name, process] of processes) await sample(name, process, startedAt, samples);
      }
      stopping.abort();
      const { done, failed } = await work;
      return [
        ...processes.flatMap(([process]) =>
          LOOKED_AT.flatMap((what) => {
            const found = samples.get(`${process} ${what.name}`) ?? [];
            return found.some(({ value }) => value > 0) ? [row(process, what, found, minutes)] : [];
          }),
        ),
        ['clients', 'jobs done', '', String(done), '', '', failed === 0 ? 'all done' : `${failed} not done`],
      ];
    } finally {
      await receiver.close();
    }
  });
}

async function sample(
  name: string,
  process: LoradropProcess,
  startedAt: number,
  samples: Map<string, Sample[]>,
): Promise<void> {
  const text = await metricsOf(process);
  const hours = (performance.now() - startedAt) / 3_600_000;
  for (const what of LOOKED_AT) {
    const key = `${name} ${what.name}`;
    const of = samples.get(key) ?? [];
    samples.set(key, of);
    of.push({ hours, value: metricIn(text, what.metric) / what.scale });
  }
}

function row(
  process: string,
  { name, unit, allowed }: (typeof LOOKED_AT)[number],
  all: readonly Sample[],
  minutes: number,
): string[] {
  const kept = all.slice(Math.floor(all.length * WARM_UP_SHARE));
  const { slope, error } = slopeOf(kept);
  const values = kept.map(({ value }) => value);
  const shown = (value: number) => `${value.toFixed(1)} ${unit}`.trim();
  const grows = slope - 2 * error > allowed;
  const verdict = grows
    ? minutes < TELLING_MINUTES
      ? `grows, or is still warming up: run ${TELLING_MINUTES} minutes or more`
      : `GROWS by more than ${shown(allowed)} an hour`
    : slope + 2 * error > allowed
      ? 'too short to tell'
      : 'does not grow';
  return [
    process,
    name,
    shown(values[0] ?? 0),
    shown(values.at(-1) ?? 0),
    shown(percentile(values, 1)),
    `${slope.toFixed(1)} ± ${(2 * error).toFixed(1)} ${unit}`.trim(),
    verdict,
  ];
}

/** The slope of a line through the samples by least squares, with its standard error. */
function slopeOf(samples: readonly Sample[]): { slope: number; error: number } {
  const count = samples.length;
  if (count < 3) return { slope: 0, error: Number.POSITIVE_INFINITY };
  const meanHours = samples.reduce((sum, { hours }) => sum + hours, 0) / count;
  const meanValue = samples.reduce((sum, { value }) => sum + value, 0) / count;
  const spread = samples.reduce((sum, { hours }) => sum + (hours - meanHours) ** 2, 0);
  const slope =
    samples.reduce((sum, { hours, value }) => sum + (hours - meanHours) * (value - meanValue), 0) / spread;
  const rest = samples.reduce(
    (sum, { hours, value }) => sum + (value - meanValue - slope * (hours - meanHours)) ** 2,
    0,
  );
  return { slope, error: Math.sqrt(rest / (count - 2) / spread) };
}

/** Submits jobs at a steady rate until the signal; every other one is followed by its events, the rest is polled. */
async function keepWorking(
  url: string,
  webhook: string,
  signal: AbortSignal,
): Promise<{ done: number; failed: number }> {
  const running = new Set<Promise<void>>();
  let [done, failed] = [0, 0];
  const one = async (seed: number) => {
    const answer = await fetch(`${url}/generate`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        ...(seed % 2 === 0 && { accept: 'text/event-stream' }),
      },
      body: JSON.stringify({ prompts: PROMPTS, seed, webhook: { url: webhook } }),
    });
    if (seed % 2 === 0) return /\nevent: succeeded\n/.test(await answer.text());
    const { id } = (await answer.json()) as Job;
    if (!answer.ok) return false;
    for (;;) {
      await delay(250);
      const found = await fetch(`${url}/jobs/${id}`);
      const job = (await found.json()) as Job;
      if (!found.ok || job.finishedAt !== undefined) return job.status === 'succeeded';
    }
  };
  for (let seed = 0; !signal.aborted; seed++) {
    const job = one(seed)
      .catch(() => false)
      .then((succeeded) => {
        if (succeeded) done += 1;
        else failed += 1;
        running.delete(job);
      });
    running.add(job);
    await delay(1000 / JOBS_PER_SECOND, undefined, { signal }).catch(() => undefined);
  }
  await Promise.all(running);
  return { done, failed };
}
