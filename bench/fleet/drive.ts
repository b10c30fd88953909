/** Sends jobs to a real fleet at given times, and tells what each took. */
import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import type { Job } from '../../src/http/schemas.ts';
import { PROMPTS } from '../prompts.ts';
import type { RunningFleet } from './processes.ts';
import type { Service } from './simulate.ts';

/** A job that was done: what it took, and how long it waited for its engine. */
export type Driven = Omit<Service, 'overheadMs' | 'handOverMs'> & {
  readonly waitMs: number;
  readonly bytes: number;
};

/** Seeds decide which prompts are drawn; each job has its own, so that none is answered from the store. */
let seed = 0;

async function accept(url: string): Promise<string> {
  const response = await fetch(`${url}/generate`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ prompts: PROMPTS, seed: seed++ }),
  });
  const job = (await response.json()) as Job;
  if (response.status !== 202) throw new Error(`${response.status}: ${JSON.stringify(job)}`);
  return job.id;
}

/** Waits for its end in one request, as a client does who follows the events. */
async function finished(url: string, id: string): Promise<Driven> {
  await (await fetch(`${url}/jobs/${id}/events`)).text();
  const job = (await (await fetch(`${url}/jobs/${id}`)).json()) as Job;
  if (job.status !== 'succeeded') throw new Error(`${id} ${job.status}: ${JSON.stringify(job.error)}`);
  const { totalMs, embeddingMs, decodingMs, writingMs } = job.timings!;
  const engineMs = embeddingMs + decodingMs;
  const bytes = job.adapters.reduce((sum, adapter) => sum + (adapter.bytes ?? 0), 0);
  return { engineMs, storeMs: writingMs, waitMs: totalMs - engineMs - writingMs, bytes };
}

/** One job after the other: what is left of its time besides the engine and the store is overhead. */
export async function driveOneByOne({ url }: RunningFleet, count: number): Promise<Driven[]> {
  const driven: Driven[] = [];
  for (let job = 0; job < count; job++) driven.push(await finished(url, await accept(url)));
  return driven;
}

/** Jobs at these times, in milliseconds from now. */
export async function driveAt({ url }: RunningFleet, arrivals: Float64Array): Promise<Driven[]> {
  const startedAt = performance.now();
  const jobs: Promise<Driven>[] = [];
  for (const at of arrivals) {
    await delay(Math.max(0, at - (performance.now() - startedAt)));
    jobs.push(accept(url).then((id) => finished(url, id)));
    // Looked at below; until then a failure is not one that nobody sees.
    jobs.at(-1)!.catch(() => undefined);
  }
  return Promise.all(jobs);
}

/** What Redis says of itself. */
export type RedisUse = { readonly commands: number; readonly cpuSeconds: number; readonly bytes: number };

/** Commands, CPU seconds of the main thread and bytes in and out since its start. */
export async function redisUse(url: string): Promise<RedisUse> {
  const client = new Redis(url, { lazyConnect: true });
  await client.connect();
  const info = await client.info('all');
  client.disconnect();
  const field = (name: string) => Number(new RegExp(`^${name}:([0-9.]+)`, 'm').exec(info)?.[1] ?? 0);
  // Commands inside scripts count as well: they are what the queue is made of.
  const calls = [...info.matchAll(/^cmdstat_[^:]+:calls=(\d+)/gm)].reduce(
    (sum, [, count]) => sum + Number(count),
    0,
  );
  return {
    commands: calls,
    cpuSeconds: field('used_cpu_sys') + field('used_cpu_user'),
    bytes: field('total_net_input_bytes') + field('total_net_output_bytes'),
  };
}
