/** How many jobs a second does one machine do? */
import { withProcesses } from './processes.ts';
import { type Benchmark, median } from './report.ts';
import { generate } from './service.ts';

const WARM_UP = 8;
const JOBS = 60;
const AT_ONCE = [1, 4, 8];

export const throughput: Benchmark = {
  question: `jobs a second of one \`loradrop start\` with the layout of the shipped bundle (random weights), ${JOBS} jobs, each with prompts of its own, asked for by this process on the same machine`,
  columns: ['jobs at a time', 'jobs / s', 'client waits, median', 'longest'],
  run: () =>
    withProcesses('small', async ({ start }) => {
      const { url } = await start('start');
      let seed = 0;
      const rows: string[][] = [];
      for (const atOnce of AT_ONCE) {
        await drive(url, atOnce, WARM_UP, () => seed++);
        const startedAt = performance.now();
        const waits = await drive(url, atOnce, JOBS, () => seed++);
        const seconds = (performance.now() - startedAt) / 1000;
        rows.push([
          String(atOnce),
          (JOBS / seconds).toFixed(2),
          `${median(waits).toFixed(0)} ms`,
          `${Math.max(...waits).toFixed(0)} ms`,
        ]);
      }
      return rows;
    }),
};

/** Does `jobs` jobs, `atOnce` at a time; what the client waited for each, in ms. */
async function drive(url: string, atOnce: number, jobs: number, nextSeed: () => number): Promise<number[]> {
  const waits: number[] = [];
  let left = jobs;
  const client = async () => {
    while (left-- > 0) waits.push((await generate(url, nextSeed())).clientMs);
  };
  await Promise.all(Array.from({ length: atOnce }, client));
  return waits;
}
