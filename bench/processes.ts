/** The service as operators run it: processes of their own, started for a benchmark and ended with it. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type LoradropProcess, startLoradrop } from '../test/helpers/loradrop-process.ts';
import { startRedis } from '../test/helpers/redis.ts';
import { buildUntrainedBundle } from '../test/helpers/untrained-bundle.ts';
import { importSmallBundle } from '../test/models/small-bundle.ts';

/** The bundles there are: one whose jobs take milliseconds, one whose jobs take a third of a second and make megabytes. */
export type BenchBundle = 'tiny' | 'small';

/** What a benchmark starts processes with. */
export type Processes = {
  /** Removed in the end. */
  readonly directory: string;
  /** A Redis of its own; answers its `QUEUE_URL`. */
  redis(): Promise<string>;
  /** A process on the directory that all of them share, with these variables besides. */
  start(
    command: 'start' | 'serve' | 'worker',
    environment?: Readonly<Record<string, string>>,
  ): Promise<LoradropProcess>;
};

/** Gives `work` processes to start, and ends all of them afterwards. */
export async function withProcesses<T>(
  bundle: BenchBundle,
  work: (processes: Processes) => Promise<T>,
): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), 'loradrop-bench-'));
  await using stack = new AsyncDisposableStack();
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  if (bundle === 'tiny') await importSmallBundle(directory);
  else await buildUntrainedBundle({ out: join(directory, 'bundles', 'small'), seed: 0 });
  const teardown = ((end: () => unknown) => {
    stack.defer(async () => void (await end()));
  }) as Parameters<typeof startLoradrop>[0]['teardown'];
  let count = 0;
  return await work({
    directory,
    async redis() {
      const server = await startRedis();
      stack.defer(() => server.stop());
      return server.url;
    },
    async start(command, environment = {}) {
      const started = await startLoradrop({ teardown }, command, {
        BUNDLES_DIR: join(directory, 'bundles'),
        STORE_URL: join(directory, 'store'),
        DATA_DIR: join(directory, `${command}-${++count}`),
        LOG_LEVEL: 'info',
        ...environment,
      });
      // Interrupted, a benchmark exits without its teardown.
      process.once('exit', () => started.child.kill('SIGKILL'));
      return started;
    },
  });
}

/** A metric of a process, or the sum over all its labels. */
export function metricIn(text: string, name: string): number {
  let sum = 0;
  for (const [, value] of text.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, 'gm')))
    sum += Number(value);
  return sum;
}

/** Everything a process says of itself in `/metrics`. */
export async function metricsOf({ url }: LoradropProcess): Promise<string> {
  return (await fetch(`${url}/metrics`)).text();
}
