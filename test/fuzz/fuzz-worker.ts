/** A thread that feeds readers. The input at hand lies in shared memory, so that who watches has it when the thread is gone. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
import { LoradropError } from '../../src/base/errors.ts';
import { seededRandom } from '../../src/base/random.ts';
import { COUNT, type FuzzReport, type FuzzWork, LENGTH, NAME, READER } from './fuzz-work.ts';
import { mutate, type Sample } from './mutate.ts';
import { placeSample, READERS, samplesOf } from './readers.ts';

const { readers, seed, ignored, maxInputMs, maxInputBytes, state, input } = workerData as FuzzWork;
const tell = (report: FuzzReport) => parentPort!.postMessage(report);

// The Parquet library leaves promises of columns alone; the service reads in a process that ignores them likewise.
process.on('unhandledRejection', () => {});

const directory = await mkdtemp(join(tmpdir(), 'loradrop-fuzz-'));
try {
  for (const [number, { name, ms }] of readers.entries()) {
    Atomics.store(state, READER, number);
    Atomics.store(state, COUNT, 0);
    await feedReader(name, ms);
  }
} finally {
  await rm(directory, { recursive: true, force: true });
}

async function feedReader(reader: string, ms: number): Promise<void> {
  const all = await samplesOf(reader);
  const samples = all.filter(({ name }) => !ignored.includes(name));
  let [inputs, refused, slowestMs] = [0, 0, 0];
  const next = async (sample: Sample) => {
    const started = performance.now();
    inputs += 1;
    if (await isRefused(reader, sample)) refused += 1;
    slowestMs = Math.max(slowestMs, Math.round(performance.now() - started));
  };
  for (const sample of samples) await next(sample);
  const random = seededRandom(seed);
  const end = performance.now() + ms;
  while (performance.now() < end) await next(mutate(samples, random));
  tell({ kind: 'done', reader, inputs, refused, slowestMs });
}

/** Reads one input, and tells of it where that ends in another way than it may. */
async function isRefused(reader: string, sample: Sample): Promise<boolean> {
  const { codes, read } = READERS[reader]!;
  show(sample);
  const before = bytesInUse();
  // Of this thread alone: the machine may have other things to do.
  const started = process.threadCpuUsage();
  const fail = (reason: string) =>
    tell({ kind: 'failure', reader, name: sample.name, reason, bytes: sample.bytes });
  let refused = false;
  try {
    await read(sample, placeSample(sample, directory));
  } catch (error) {
    refused = true;
    if (!(error instanceof LoradropError)) fail(String((error as Error)?.stack ?? error));
    else if (!codes.includes(error.code)) fail(`${error.code} is not declared: ${error.stack}`);
  }
  const { user, system } = process.threadCpuUsage(started);
  const took = (user + system) / 1000;
  if (took > maxInputMs) fail(`took ${Math.round(took)} ms of a core`);
  const more = bytesInUse() - before;
  if (more > maxInputBytes) fail(`took ${more >> 20} MiB`);
  return refused;
}

function show({ name, bytes }: Sample): void {
  const text = Buffer.from(name);
  input.set(bytes);
  input.set(text, bytes.length);
  Atomics.store(state, LENGTH, bytes.length);
  Atomics.store(state, NAME, text.length);
  Atomics.add(state, COUNT, 1);
}

function bytesInUse(): number {
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
