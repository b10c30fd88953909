/** The client of load.ts, in a process of its own: sends one kind of request on several connections for a while. */

import { PROMPTS } from './prompts.ts';
import { percentile } from './report.ts';

/** What it tells its parent. */
export type RequestLoadResult = {
  readonly answered: number;
  readonly others: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly p99Ms: number;
  /** Ids of jobs that were accepted, the last ones. */
  readonly ids: readonly string[];
};

const KEPT_IDS = 1000;

const [url, kind, connections, durationMs, known = ''] = process.argv.slice(2);
const until = performance.now() + Number(durationMs);
const latencies: number[] = [];
const ids: string[] = [];
const jobs = known.split(',');
let others = 0;

async function once(connection: number, nth: number): Promise<void> {
  const startedAt = performance.now();
  const response =
    kind === 'post'
      ? await fetch(`${url}/generate`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ prompts: PROMPTS, seed: connection * 1_000_000 + nth }),
        })
      : await fetch(`${url}/jobs/${jobs[(connection * 31 + nth) % jobs.length]}`);
  const body = (await response.json()) as { id?: string };
  if (!response.ok) {
    others += 1;
    return;
  }
  latencies.push(performance.now() - startedAt);
  if (kind === 'post' && body.id !== undefined && ids.length < KEPT_IDS) ids.push(body.id);
}

await Promise.all(
  Array.from({ length: Number(connections) }, async (_, connection) => {
    for (let nth = 0; performance.now() < until; nth++) await once(connection, nth);
  }),
);
process.send!({
  answered: latencies.length,
  others,
  p50Ms: percentile(latencies, 0.5),
  p95Ms: percentile(latencies, 0.95),
  p99Ms: percentile(latencies, 0.99),
  ids,
} satisfies RequestLoadResult);
