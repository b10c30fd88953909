/** How far from the disk's speed is a restart: process start → engine ready, against reading the bundle's files? */
import { fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { open, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Bundle } from '../src/models/bundle.ts';
import { openMeasuredBundle } from './measured-model.ts';
import type { BenchOptions } from './options.ts';
import { type Benchmark, gibibytes, median, spread } from './report.ts';
import type { Started } from './start-engine.ts';

/** Bytes of one read: large enough for the disk's full speed. */
const READ_BYTES = 8 << 20;
/** Writing 1 to it drops the page cache, if one is allowed to. */
const DROP_CACHES = '/proc/sys/vm/drop_caches';

export const startup: Benchmark = {
  question:
    'process start → engine ready (graphs loaded; at a first start every file’s digest verified, at a restart that no file has changed since), against reading the same files from start to end; the page cache is dropped before each where the system allows it (root on Linux)',
  columns: [
    'start',
    'page cache',
    'size',
    'files',
    'reading them',
    'start → ready',
    'ratio',
    'of it verifying',
    'loading',
  ],
  onRequest: true,
  async run(options) {
    await using measured = await openMeasuredBundle(options);
    const { bundle } = measured;
    const rows = [];
    const list = join(measured.directory, 'verified-files.json');
    for (const start of ['first', 'restart'] as const) {
      const prepare = async () => {
        if (start === 'first') await rm(list, { force: true });
      };
      const kinds = [{ cache: 'warm', before: prepare }];
      if (await dropPageCache()) {
        kinds.unshift({
          cache: 'dropped',
          before: () =>
            prepare()
              .then(dropPageCache)
              .then(() => {}),
        });
      }
      for (const { cache, before } of kinds) {
        rows.push([start, ...(await measure(cache, bundle, { ...options, list }, before))]);
      }
    }
    return rows;
  },
};

async function measure(
  cache: string,
  bundle: Bundle,
  options: BenchOptions & { list: string },
  before: () => Promise<unknown>,
): Promise<string[]> {
  const reading: number[] = [];
  const starting: number[] = [];
  const parts: Started[] = [];
  // Reading once more than counts warms the cache where it is to be warm.
  await readFiles(bundle);
  for (let run = 0; run < options.runs; run++) {
    await before();
    const startedAt = performance.now();
    await readFiles(bundle);
    reading.push((performance.now() - startedAt) / 1000);
    await before();
    const { seconds, started } = await startEngine(bundle, options);
    starting.push(seconds);
    parts.push(started);
  }
  const bytes = bundle.manifest.files.reduce((sum, file) => sum + file.bytes, 0);
  const of = (pick: (started: Started) => number) => `${(median(parts.map(pick)) / 1000).toFixed(2)} s`;
  return [
    cache,
    bundle.manifest.id,
    gibibytes(bytes),
    spread(reading, 's', 2),
    spread(starting, 's', 2),
    `${(median(starting) / median(reading)).toFixed(1)}×`,
    of(({ verifyMs }) => verifyMs),
    of(({ loadMs }) => loadMs),
  ];
}

async function readFiles({ directory, manifest }: Bundle): Promise<void> {
  const buffer = new Uint8Array(READ_BYTES);
  for (const { name } of manifest.files) {
    await using file = await open(join(directory, name));
    while ((await file.read(buffer)).bytesRead > 0);
  }
}

/** Starts a process, waits until its engine is ready, and then until it has ended. */
async function startEngine(
  bundle: Bundle,
  { device, threads, list }: BenchOptions & { list: string },
): Promise<{ seconds: number; started: Started }> {
  const startedAt = performance.now();
  const child = fork(join(import.meta.dirname, 'start-engine.ts'), [
    bundle.directory,
    device,
    String(threads),
    list,
  ]);
  const ended = once(child, 'exit');
  const [message] = await Promise.race([once(child, 'message'), ended.then(() => [])]);
  const seconds = (performance.now() - startedAt) / 1000;
  await ended;
  if (!message) throw new Error('the engine did not start');
  return { seconds, started: message as Started };
}

/** Whether it could be done. */
async function dropPageCache(): Promise<boolean> {
  try {
    // Dirty pages stay, so they are written first.
    await once(spawn('sync'), 'close');
    await writeFile(DROP_CACHES, '1');
    return true;
  } catch {
    return false;
  }
}
