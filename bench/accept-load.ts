/** The client of accept-rate.ts, in a process of its own: posts jobs on several connections for a while. */
import { PROMPTS } from './prompts.ts';

/** What it tells its parent. */
export type LoadResult = {
  readonly accepted: number;
  readonly refused: number;
  readonly medianMs: number;
  readonly p99Ms: number;
};

const [url, connections, durationMs, key] = process.argv.slice(2);
const until = performance.now() + Number(durationMs);
const latencies: number[] = [];
let refused = 0;

async function postUntilTheEnd(connection: number): Promise<void> {
  for (let n = 0; performance.now() < until; n++) {
    const startedAt = performance.now();
    const response = await fetch(`${url}/generate`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...(key && { authorization: `Bearer ${key}` }) },
      body: JSON.stringify({ prompts: PROMPTS, seed: connection * 1_000_000 + n }),
    });
    await response.text();
    if (response.status === 202) latencies.push(performance.now() - startedAt);
    else refused += 1;
  }
}

await Promise.all(
  Array.from({ length: Number(connections) }, (_, connection) => postUntilTheEnd(connection)),
);
latencies.sort((a, b) => a - b);
const at = (share: number) => latencies[Math.floor(share * (latencies.length - 1))] ?? Number.NaN;
process.send!({
  accepted: latencies.length,
  refused,
  medianMs: at(0.5),
  p99Ms: at(0.99),
} satisfies LoadResult);
