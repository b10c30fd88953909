/** Feeds readers for a while, in a thread that may hang or run out of memory. */
import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { COUNT, type FuzzReport, type FuzzWork, LENGTH, NAME, READER } from './fuzz-work.ts';
import { corpusOf } from './readers.ts';

/** Heap of the thread, and what one input may add: many times what readers need for inputs of 256 KiB. */
const HEAP_MIB = 512;
const MAX_INPUT_BYTES = 256 << 20;
/** Time for one input: ordinary ones take a millisecond, and the machine may do other things besides. */
const MAX_INPUT_MS = 5000;
/** After so much time of a core an input counts as one without an end, or after so much on the clock, which a busy machine may not give it. */
const HANG_MS = 15_000;
const HANG_CLOCK_MS = 120_000;
/** Larger than any input that is made, and its name. */
const SHARED_BYTES = 1 << 20;
/** Threads that may be ended by inputs before a run gives up. */
const MAX_THREADS = 20;

/** What came of a reader. `failures` has one for each reason, with the file that its input was kept in. */
export type FuzzOutcome = {
  inputs: number;
  refused: number;
  slowestMs: number;
  readonly failures: { readonly reason: string; readonly file: string }[];
};

/** Feeds each reader its samples and, for `ms`, changes of them. Inputs that fail are written to its corpus. */
export async function fuzzReaders(
  names: readonly string[],
  { seed, ms }: { seed: number; ms: number },
): Promise<ReadonlyMap<string, FuzzOutcome>> {
  const outcomes = new Map<string, FuzzOutcome>(
    names.map((name) => [name, { inputs: 0, refused: 0, slowestMs: 0, failures: [] }]),
  );
  const kept = new Set<string>();
  const ignored: string[] = [];

  const keep = async (reader: string, name: string, reason: string, bytes: Uint8Array) => {
    // The place of a failure without its numbers, so that a thousand inputs for one fault are kept once.
    const kind = `${reader} ${reason.split('\n').slice(0, 2).join(' ').replaceAll(/\d+/g, 'N')}`;
    if (kept.has(kind)) return;
    kept.add(kind);
    const digest = createHash('sha256').update(bytes).digest('hex').slice(0, 12);
    const file = `found-${digest}${name.slice(name.indexOf('.'))}`;
    ignored.push(file);
    await mkdir(corpusOf(reader), { recursive: true });
    await writeFile(join(corpusOf(reader), file), bytes);
    outcomes.get(reader)!.failures.push({ reason, file });
  };

  let left = names.map((name) => ({ name, ms }));
  for (let thread = 0; left.length > 0 && thread < MAX_THREADS; thread++) {
    const state = new Int32Array(new SharedArrayBuffer(16));
    const input = new Uint8Array(new SharedArrayBuffer(SHARED_BYTES));
    const limits = { maxInputMs: MAX_INPUT_MS, maxInputBytes: MAX_INPUT_BYTES };
    const work: FuzzWork = { readers: left, seed: seed + thread, ignored, ...limits, state, input };
    const started = performance.now();
    const died = await runThread(work, keep, outcomes);
    const reached = Atomics.load(state, READER);
    if (died === undefined) break;
    const { name: reader } = left[reached]!;
    const bytes = input.slice(0, Atomics.load(state, LENGTH));
    const name = Buffer.from(input.slice(bytes.length, bytes.length + Atomics.load(state, NAME))).toString();
    outcomes.get(reader)!.inputs += Atomics.load(state, COUNT);
    await keep(reader, name || 'input.bin', died, bytes);
    // The rest of its time, at most: what the readers before it took is not known.
    const rest = Math.max(0, left[reached]!.ms - (performance.now() - started));
    left = [{ name: reader, ms: rest }, ...left.slice(reached + 1)];
  }
  return outcomes;
}

/** Milliseconds on the clock, and of a core for all threads of this process. */
function now(): { clock: number; core: number } {
  const { user, system } = process.cpuUsage();
  return { clock: performance.now(), core: (user + system) / 1000 };
}

function isHung(since: ReturnType<typeof now>): boolean {
  const { clock, core } = now();
  return core - since.core > HANG_MS || clock - since.clock > HANG_CLOCK_MS;
}

/** Runs one thread to its end. Answers why it died, or undefined where it has done its work. */
async function runThread(
  workerData: FuzzWork,
  keep: (reader: string, name: string, reason: string, bytes: Uint8Array) => Promise<void>,
  outcomes: ReadonlyMap<string, FuzzOutcome>,
): Promise<string | undefined> {
  const worker = new Worker(new URL('fuzz-worker.ts', import.meta.url), {
    workerData,
    resourceLimits: { maxOldGenerationSizeMb: HEAP_MIB },
  });
  const pending: Promise<void>[] = [];
  let done = 0;
  worker.on('message', (report: FuzzReport) => {
    if (report.kind === 'failure') {
      pending.push(keep(report.reader, report.name, report.reason, report.bytes));
      return;
    }
    const outcome = outcomes.get(report.reader)!;
    outcome.inputs += report.inputs;
    outcome.refused += report.refused;
    outcome.slowestMs = Math.max(outcome.slowestMs, report.slowestMs);
    done += 1;
  });
  let died: string | undefined;
  const ended = new Promise<'ended'>((resolve) => {
    worker.once('error', (error: Error) => (died ??= error.stack ?? String(error)));
    worker.once('exit', () => resolve('ended'));
  });
  const { state } = workerData;
  const mark = () => `${Atomics.load(state, READER)} ${Atomics.load(state, COUNT)}`;
  let [seen, since] = [mark(), now()];
  while ((await Promise.race([ended, delay(100, 'running')])) !== 'ended') {
    if (mark() !== seen) [seen, since] = [mark(), now()];
    else if (Atomics.load(state, COUNT) > 0 && isHung(since)) {
      died ??= 'The input has no end.';
      await worker.terminate();
    }
  }
  await Promise.all(pending);
  return done === workerData.readers.length ? undefined : (died ?? 'The thread ended before its work did.');
}
