/** How many requests a second does the running service answer, and how soon? */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { withProcesses } from './processes.ts';
import type { Benchmark } from './report.ts';
import type { RequestLoadResult } from './request-load.ts';

const SECONDS = 8;
const CONNECTIONS = 16;
const MAX_JOBS = 1_000_000;

export const load: Benchmark = {
  question: `requests to a process of its own on ${CONNECTIONS} connections from another one for ${SECONDS} s each: jobs accepted and jobs read; \`redis\` is an API without a worker, \`embedded\` an API that works on the same jobs meanwhile`,
  columns: ['queue', 'request', 'answered / s', 'p50', 'p95', 'p99', 'not answered'],
  onRequest: true,
  run: async () => [...(await measure('redis')), ...(await measure('embedded'))],
};

function measure(queue: 'redis' | 'embedded'): Promise<string[][]> {
  return withProcesses('tiny', async ({ redis, start }) => {
    const limits = { MAX_QUEUED: String(MAX_JOBS) };
    const { url } =
      queue === 'redis'
        ? await start('serve', { ...limits, QUEUE_URL: await redis() })
        : await start('start', limits);
    // Code that has not run yet is not what is asked for.
    await send(url, 'post', 1000);
    const posted = await send(url, 'post', SECONDS * 1000);
    const read = await send(url, 'get', SECONDS * 1000, posted.ids);
    return [
      [queue, 'POST /generate', ...figures(posted)],
      [queue, 'GET /jobs/{id}', ...figures(read)],
    ];
  });
}

async function send(
  url: string,
  kind: 'post' | 'get',
  durationMs: number,
  ids: readonly string[] = [],
): Promise<RequestLoadResult> {
  const args = [url, kind, String(CONNECTIONS), String(durationMs), ids.join(',')];
  const client = fork(join(import.meta.dirname, 'request-load.ts'), args);
  const [result] = (await once(client, 'message')) as [RequestLoadResult];
  return result;
}

function figures({ answered, others, p50Ms, p95Ms, p99Ms }: RequestLoadResult): string[] {
  const ms = (value: number) => `${value.toFixed(1)} ms`;
  return [(answered / SECONDS).toFixed(0), ms(p50Ms), ms(p95Ms), ms(p99Ms), String(others)];
}
