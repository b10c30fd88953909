/**
 * The inference process: owns the ONNX sessions of one device. It is a process and not a thread because a run blocks its
 * thread, cannot be interrupted, and takes everything with it when its thread is ended; a process can be killed at any time.
 *
 * Everything that takes long is cut into blocking pieces, and `turn` is awaited between them: that is when cancels are heard.
 * The bytes of adapters go into a file that the engine has open as well.
 */
import '../base/node-20.ts';
import { writeSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as nextImmediate } from 'node:timers/promises';
import { LoradropError } from '../base/errors.ts';
import { SHARED_DESCRIPTOR } from '../base/forked-process.ts';
import { type ByteLru, createByteLru } from '../base/lru.ts';
import { loraErrors } from '../lora/errors.ts';
import type { Bundle } from '../models/bundle.ts';
import { availableMemory } from './available-memory.ts';
import { bundleMemory, PROCESS_BYTES } from './bundle-memory.ts';
import { type ConditionMaker, createConditionMaker } from './conditions.ts';
import { proveDevice } from './device.ts';
import { openEncoder } from './encoder.ts';
import type { Device } from './engine.ts';
import { inferenceErrors } from './errors.ts';
import { failureOf } from './failure.ts';
import { conditionShape, type Generator, openGenerator } from './generator.ts';
import { env } from './onnx-runtime.ts';
import { createPooledConditionMaker, openPooledEncoder } from './pooled-encoder.ts';
import { processMemory } from './process-memory.ts';
import type { BatchRequest, Failure, FromChild, ToChild, ToChildRecords } from './protocol.ts';
import { createRounding, type Rounding } from './rounding.ts';
import type { HostTensor } from './session.ts';
import { type Handlers, handle } from './tagged.ts';
import { openTokenizer } from './tokenizer.ts';

type Loaded = {
  readonly makeConditions: ConditionMaker;
  readonly generator: Generator;
  /** Room for one condition, used again by every decode: at 75–654 MB, new memory would take as long as a copy to a GPU. */
  readonly condition: Float32Array;
  readonly memoryBytes: number;
};
type Opened = {
  readonly device: Device;
  readonly encodeTokenBudget: number;
  readonly promptCache: ByteLru<Float32Array>;
  readonly promptCacheBytes: number;
  readonly memoryLimitBytes: number;
  readonly round: Rounding;
};

// What it would print comes as an exception as well, which is told where it matters.
env.logLevel = 'fatal';

let opened: Opened | undefined;
const bundles = new Map<string, Loaded>();
const cancels = new Map<number, AbortController>();

const handlers: Handlers<ToChildRecords, void | Promise<void>> = {
  open,
  load: ({ bundle }) => load(bundle),
  batch: ({ digest, requests }) => runBatch(digest, requests),
  cancel: ({ id }) => cancels.get(id)?.abort(),
};

process.on('message', (message: ToChild) => void handle(handlers, message));
process.on('disconnect', () => process.exit());
// A terminal's Ctrl-C reaches the whole process group; when to end is the engine's decision.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => {});

/** Resolves when the channel has taken the message, which is what holds back a sender that is faster than its reader. */
function send(message: FromChild): Promise<void> {
  return new Promise((resolve, reject) => {
    process.send!(message, undefined, {}, (error) => (error ? reject(error) : resolve()));
  });
}

/** Lets waiting messages be heard. */
async function turn(): Promise<void> {
  // Between two of them the event loop has looked at the channel, wherever in its round this is called.
  await nextImmediate();
  await nextImmediate();
}

async function open(options: ToChildRecords['open']): Promise<void> {
  try {
    const { device, fallback } = await proveDevice(options.device, { threads: options.threads });
    const { encodeTokenBudget, promptCacheBytes, memoryLimitBytes } = options;
    const promptCache = createByteLru<Float32Array>(promptCacheBytes);
    const round = createRounding(options);
    opened = { device, encodeTokenBudget, promptCache, promptCacheBytes, memoryLimitBytes, round };
    await send({ type: 'opened', device, ...(fallback && { fallback }) });
    await idle();
  } catch (error) {
    await send({ type: 'refused', failure: tell(error) });
    process.exit();
  }
}

async function load(bundle: Bundle): Promise<void> {
  const { device, encodeTokenBudget, promptCache, round } = opened!;
  const { manifest, directory, digest } = bundle;
  const startedAt = performance.now();
  try {
    const memoryBytes = claimMemory(bundle);
    const { tokenize, largestId } = await openTokenizer(
      join(directory, manifest.tokenizer.file),
      manifest.condition,
    );
    const making = { bundle, tokenize, cache: promptCache };
    const limits = { tokenBudget: encodeTokenBudget, largestId };
    let makeConditions: ConditionMaker;
    let fixedShape = false;
    if (manifest.condition.pooling === 'none') {
      const encoder = await openEncoder(bundle, device, limits);
      ({ fixedShape } = encoder);
      makeConditions = createConditionMaker({ ...making, encoder });
    } else {
      const encoder = await openPooledEncoder(bundle, device, limits);
      makeConditions = createPooledConditionMaker({ ...making, encoder });
    }
    const generator = await openGenerator(bundle, device, round);
    const condition = new Float32Array(conditionShape(bundle).reduce((a, b) => a * b));
    bundles.set(digest, { makeConditions, generator, condition, memoryBytes });
    const loadMs = performance.now() - startedAt;
    const { stages } = generator;
    await send({ type: 'loaded', digest, loadMs, stages, fixedShape });
  } catch (error) {
    await send({ type: 'unloadable', digest, failure: tell(error) });
  }
  await idle();
}

/**
 * The bundle's need of memory, if this process can have that much beside what it needs already. On CUDA weights only pass
 * through the host's memory. Errors: `insufficient-memory`.
 */
function claimMemory({ manifest }: Bundle): number {
  const { device, encodeTokenBudget, promptCacheBytes, memoryLimitBytes } = opened!;
  const needed = bundleMemory(manifest, { encodeTokenBudget });
  const claimed = [...bundles.values()].reduce(
    (sum, { memoryBytes }) => sum + memoryBytes,
    PROCESS_BYTES + promptCacheBytes,
  );
  // What earlier bundles are going to need is in the claims, whether they hold it already or not.
  const room = (memoryLimitBytes || availableMemory() + processMemory().ownBytes) - claimed;
  if (device.provider === 'cpu' && needed > room) {
    throw inferenceErrors.insufficientMemory(
      `The bundle needs about ${inMebibytes(needed)} of memory, and there are ${inMebibytes(Math.max(0, room))} for it.`,
    );
  }
  return needed;
}

function inMebibytes(bytes: number): string {
  return `${Math.round(bytes / 2 ** 20)} MiB`;
}

async function runBatch(digest: string, requests: readonly BatchRequest[]): Promise<void> {
  const { makeConditions, generator, condition } = bundles.get(digest)!;
  const everyone = new AbortController();
  for (const { id } of requests) {
    const cancel = new AbortController();
    cancels.set(id, cancel);
    cancel.signal.addEventListener('abort', () => {
      if (requests.every((other) => cancels.get(other.id)?.signal.aborted ?? true)) everyone.abort();
    });
  }
  try {
    await send({ type: 'working', on: 'batch' });
    const startedAt = performance.now();
    const embeddingAt = Date.now();
    const embeddings = await makeConditions(
      requests.flatMap(({ prompts }) => prompts),
      {
        signal: everyone.signal,
        turn,
        onProgress: (fraction) => report('batch', { stage: 'embedding', fraction }),
      },
    );
    const embeddingMs = (performance.now() - startedAt) / requests.length;

    for (const request of requests) {
      const { id, prompts } = request;
      const { signal } = cancels.get(id)!;
      await turn();
      try {
        signal.throwIfAborted();
        await send({ type: 'working', on: id });
        const decodeStartedAt = performance.now();
        const decodingAt = Date.now();
        const value = await generator.run(embeddings.condition(prompts, condition), {
          signal,
          turn,
          onProgress: (fraction) => report(id, { stage: 'decoding', fraction }),
        });
        const decodingMs = performance.now() - decodeStartedAt;
        const { cached, encoded } = embeddings.sources(prompts);
        await send({
          type: 'decoded',
          id,
          embeddingMs,
          decodingMs,
          embeddingAt,
          decodingAt,
          promptsCached: cached,
          promptsEncoded: encoded,
        });
        await writeAdapter(generator, value, request);
      } catch (error) {
        await send(signal.aborted ? { type: 'stopped', id } : { type: 'failed', id, failure: tell(error) });
        if (!signal.aborted) leaveBrokenDevice();
      }
      cancels.delete(id);
    }
  } catch (error) {
    // The embedding failed, or nobody wants it any more: it was everyone's.
    const failure = everyone.signal.aborted ? undefined : tell(error);
    for (const { id } of requests) {
      cancels.delete(id);
      await send(failure ? { type: 'failed', id, failure } : { type: 'stopped', id });
    }
    if (failure) leaveBrokenDevice();
  }
  await idle();
}

/** Writes the adapter of a decoded request into the spool, and tells how far it is: its reader need not wait for the end. */
async function writeAdapter(generator: Generator, value: HostTensor, request: BatchRequest): Promise<void> {
  const { id, dtype, at } = request;
  let written = 0;
  try {
    await generator.write(value, {
      dtype,
      turn,
      write(bytes) {
        writeSpool(bytes, at + written);
        written += bytes.length;
        // The channel keeps the order; a lost channel ends this process anyway.
        send({ type: 'written', id, bytes: written }).catch(() => {});
      },
    });
  } catch (error) {
    await send({ type: 'unwritten', id, failure: tell(error) });
    if (!(error instanceof LoradropError && error.code === loraErrors.notFinite.spec.code))
      leaveBrokenDevice();
  }
}

/** Errors: `no-temporary-space`. */
function writeSpool(bytes: Uint8Array, at: number): void {
  try {
    for (let done = 0; done < bytes.length; ) {
      done += writeSync(SHARED_DESCRIPTOR, bytes, done, bytes.length - done, at + done);
    }
  } catch (cause) {
    throw inferenceErrors.noTemporarySpace('An adapter could not be handed over.', { cause });
  }
}

function report(of: number | 'batch', progress: { stage: 'embedding' | 'decoding'; fraction: number }): void {
  // The channel keeps the order, so nothing has to wait for it; a lost channel ends this process anyway.
  send({ type: 'progress', of, progress }).catch(() => {});
}

function idle(): Promise<void> {
  const { residentBytes, peakResidentBytes } = processMemory();
  const promptCacheBytes = opened!.promptCache.bytes;
  return send({ type: 'idle', residentBytes, peakResidentBytes, promptCacheBytes });
}

/** After most failures of CUDA every later run of the process fails too; a new process has a new context. */
function leaveBrokenDevice(): void {
  if (opened!.device.provider === 'cuda') process.exit(1);
}

/** The failure as it is told, and in full for the log: what is written to standard error, the engine logs. */
function tell(error: unknown): Failure {
  process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  return failureOf(error);
}
