/** What do a thousand clients that follow jobs cost, and how soon do they hear? */
import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import type { Job } from '../src/http/schemas.ts';
import { metricIn, metricsOf, withProcesses } from './processes.ts';
import { PROMPTS } from './prompts.ts';
import { type Benchmark, percentile } from './report.ts';

const FOLLOWERS = 1000;
const JOBS = 50;
/** Connections opened at a time. */
const AT_ONCE = 50;
/** Settling of memory before it is read. */
const IDLE_MS = 3000;

type Follower = { readonly firstEvent: Promise<unknown>; readonly finalLateMs: Promise<number | undefined> };

export const followers: Benchmark = {
  question: `${FOLLOWERS} clients follow ${JOBS} jobs at one API process by server-sent events: memory of the process, and the time from the end of a job (by the worker's clock, on this machine) to its final event at each client`,
  columns: [
    'queue',
    'followers',
    'resident, before',
    'with them',
    'for each',
    'heard',
    'final event p50',
    'p95',
    'p99',
    'largest',
  ],
  onRequest: true,
  run: async () => [await measure()],
};

function measure(): Promise<string[]> {
  return withProcesses('tiny', async ({ redis, start }) => {
    const environment = { QUEUE_URL: await redis(), MAX_CONNECTIONS: String(2 * FOLLOWERS) };
    const api = await start('serve', environment);
    const ids = await Promise.all(Array.from({ length: JOBS }, (_, seed) => submit(api.url, seed)));
    // Streams once opened and ended have warmed up the code.
    const warm = follow(api.url, ids[0]!);
    await warm.firstEvent;
    await settle();
    const before = metricIn(await metricsOf(api), 'process_resident_memory_bytes');
    const all: Follower[] = [];
    while (all.length < FOLLOWERS) {
      const more = Array.from({ length: AT_ONCE }, (_, nth) =>
        follow(api.url, ids[(all.length + nth) % JOBS]!),
      );
      await Promise.all(more.map(({ firstEvent }) => firstEvent));
      all.push(...more);
    }
    await settle();
    const after = metricIn(await metricsOf(api), 'process_resident_memory_bytes');
    await start('worker', environment);
    const late = (await Promise.all(all.map(({ finalLateMs }) => finalLateMs))).filter(
      (value) => value !== undefined,
    );
    const MiB = (bytes: number) => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
    const ms = (share: number) => `${percentile(late, share).toFixed(0)} ms`;
    return [
      'redis',
      String(FOLLOWERS),
      MiB(before),
      MiB(after),
      `${((after - before) / FOLLOWERS / 1024).toFixed(0)} KiB`,
      String(late.length),
      ms(0.5),
      ms(0.95),
      ms(0.99),
      ms(1),
    ];
  });
}

const settle = () => new Promise((resolve) => setTimeout(resolve, IDLE_MS));

async function submit(url: string, seed: number): Promise<string> {
  const answer = await fetch(`${url}/generate`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ prompts: PROMPTS, seed }),
  });
  return ((await answer.json()) as Job).id;
}

/** Follows a job to its end. The time is undefined for a stream that ends without a final event. */
function follow(url: string, id: string): Follower {
  const first = Promise.withResolvers<void>();
  const read = async (): Promise<number | undefined> => {
    const request = get(`${url}/jobs/${id}/events`, { agent: false });
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    let text = '';
    for await (const chunk of response.setEncoding('utf8')) {
      text += chunk;
      const data = /\ndata: (.*)\n\n$/.exec(text)?.[1];
      if (data === undefined) continue;
      text = '';
      first.resolve();
      const { finishedAt } = JSON.parse(data) as Job;
      if (finishedAt !== undefined) return Date.now() - Date.parse(finishedAt);
    }
    return undefined;
  };
  const finalLateMs = read().catch(() => undefined);
  void finalLateMs.then(() => first.resolve());
  return { firstEvent: first.promise, finalLateMs };
}
