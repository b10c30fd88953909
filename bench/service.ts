/** The service as benchmarks run it: a real one, in this process, on a directory of its own. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Service, startService } from '../src/compose.ts';
import { loadConfig, type RawSettings } from '../src/config/load.ts';
import type { Job } from '../src/http/schemas.ts';
import { buildUntrainedBundle } from '../test/helpers/untrained-bundle.ts';
import { PROMPTS } from './prompts.ts';

/** Runs `work` against a service with a small bundle of random weights that holds everything, then removes all of it. */
export async function withService<T>(
  settings: RawSettings,
  work: (service: Service) => Promise<T>,
): Promise<T> {
  const dataDir = await mkdtemp(join(tmpdir(), 'loradrop-bench-'));
  await buildUntrainedBundle({ out: join(dataDir, 'bundles', 'untrained'), seed: 0 });
  const config = loadConfig({ port: 0, logLevel: 'error', ...settings, dataDir }, {});
  const service = await startService(config, 'all');
  try {
    return await work(service);
  } finally {
    await service.close();
    await rm(dataDir, { recursive: true });
  }
}

/** Posts a job and waits for it; `seed` decides which prompts are drawn. */
export async function generate(
  url: string,
  seed: number,
): Promise<{ readonly job: Job; readonly clientMs: number }> {
  const startedAt = performance.now();
  const response = await fetch(`${url}/generate`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', prefer: 'wait=120' },
    body: JSON.stringify({ prompts: PROMPTS, seed }),
  });
  const job = (await response.json()) as Job;
  if (response.status !== 200 || job.status !== 'succeeded')
    throw new Error(`${response.status}: ${JSON.stringify(job)}`);
  return { job, clientMs: performance.now() - startedAt };
}
