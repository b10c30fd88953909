/** What happens to jobs that are accepted while three times as many come as can be done? */
import { setTimeout as delay } from 'node:timers/promises';
import type { Job } from '../src/http/schemas.ts';
import { withProcesses } from './processes.ts';
import { PROMPTS } from './prompts.ts';
import { type Benchmark, percentile } from './report.ts';

const SECONDS = 30;
const TIMES = 3;
/** Few, so that the limit is met within the time of the measurement. */
const MAX_QUEUED = 20;
const CLIENTS = 8;
const CONCURRENCY = 4;

export const overload: Benchmark = {
  question: `jobs at ${TIMES} × the rate that ${CLIENTS} waiting clients get, for ${SECONDS} s, with at most ${MAX_QUEUED} that may wait (API and worker as processes, Redis; jobs of the small untrained bundle)`,
  columns: [
    'jobs done / s in peace',
    'offered / s',
    'done / s meanwhile',
    'refused (429)',
    'with Retry-After',
    'others',
    'acceptance → end p50',
    'p95',
    'largest',
    'bound',
  ],
  onRequest: true,
  run: async () => [await measure()],
};

function measure(): Promise<string[]> {
  return withProcesses('small', async ({ redis, start }) => {
    const environment = {
      QUEUE_URL: await redis(),
      MAX_QUEUED: String(MAX_QUEUED),
      CONCURRENCY: String(CONCURRENCY),
    };
    const [{ url }] = await Promise.all([start('serve', environment), start('worker', environment)]);
    const capacity = await rateInPeace(url);

    const accepted: string[] = [];
    const refusals: (string | null)[] = [];
    let others = 0;
    let seed = 1_000_000;
    const sent: Promise<void>[] = [];
    const startedAt = performance.now();
    for (let nth = 0; performance.now() - startedAt < SECONDS * 1000; nth++) {
      const post = async () => {
        const answer = await submit(url, ++seed);
        const body = (await answer.json()) as Job;
        if (answer.status === 202) accepted.push(body.id);
        else if (answer.status === 429) refusals.push(answer.headers.get('retry-after'));
        else others += 1;
      };
      sent.push(post());
      await delay(Math.max(0, startedAt + (nth + 1) * (1000 / (TIMES * capacity)) - performance.now()));
    }
    await Promise.all(sent);
    const jobs = await Promise.all(accepted.map((id) => ended(url, id)));
    const times = jobs.map(
      ({ acceptedAt, finishedAt }) => (Date.parse(finishedAt!) - Date.parse(acceptedAt)) / 1000,
    );
    const ends = jobs.map(({ finishedAt }) => Date.parse(finishedAt!)).toSorted((a, b) => a - b);
    const done = (ends.length - 1) / ((ends.at(-1)! - ends[0]!) / 1000);
    const withRetryAfter = refusals.filter((value) => value !== null && /^[0-9]+$/.test(value)).length;
    const share = (part: number, of: number) => `${((100 * part) / of).toFixed(0)} %`;
    const s = (at: number) => `${percentile(times, at).toFixed(1)} s`;
    return [
      capacity.toFixed(1),
      (sent.length / SECONDS).toFixed(1),
      `${done.toFixed(1)} (${share(done, capacity)})`,
      `${refusals.length} (${share(refusals.length, sent.length)})`,
      refusals.length === 0 ? '–' : share(withRetryAfter, refusals.length),
      String(others),
      s(0.5),
      s(0.95),
      s(1),
      // All that may wait before it, and what runs.
      `${((MAX_QUEUED + CONCURRENCY) / done).toFixed(1)} s`,
    ];
  });
}

const submit = (url: string, seed: number, prefer?: string) =>
  fetch(`${url}/generate`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(prefer && { prefer }) },
    body: JSON.stringify({ prompts: PROMPTS, seed }),
  });

/** Jobs a second that clients get who wait for each before the next. */
async function rateInPeace(url: string): Promise<number> {
  let seed = 0;
  let done = 0;
  const clients = async (milliseconds: number) => {
    const until = performance.now() + milliseconds;
    await Promise.all(
      Array.from({ length: CLIENTS }, async () => {
        while (performance.now() < until) {
          const answer = await submit(url, ++seed, 'wait=60');
          await answer.arrayBuffer();
          if (answer.status === 200) done += 1;
        }
      }),
    );
  };
  await clients(2000);
  done = 0;
  const startedAt = performance.now();
  await clients((SECONDS * 1000) / 2);
  return done / ((performance.now() - startedAt) / 1000);
}

async function ended(url: string, id: string): Promise<Job> {
  for (;;) {
    const job = (await (await fetch(`${url}/jobs/${id}`)).json()) as Job;
    if (job.finishedAt !== undefined) return job;
    await delay(250);
  }
}
