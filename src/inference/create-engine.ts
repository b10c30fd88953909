/** The engine of one device: a child process that runs, and everything that keeps it useful. */

import type { Bundle } from '../models/bundle.ts';
import type { Logger } from '../observability/logger.ts';
import { availableThreads } from './available-threads.ts';
import { createDecodeStream, type DecodeStream } from './decode-stream.ts';
import { parseDevice, type WantedDevice } from './device.ts';
import type {
  Device,
  Engine,
  EngineStatus,
  Inference,
  InferenceProgress,
  InferenceRequest,
} from './engine.ts';
import { inferenceErrors } from './errors.ts';
import { errorOf } from './failure.ts';
import { InferenceProcess } from './inference-process.ts';
import { nextBatch } from './micro-batch.ts';
import type { Failure, FromChildRecords } from './protocol.ts';
import { type Handlers, handle } from './tagged.ts';

/** Options of {@link createEngine}. */
export type EngineOptions = {
  /** `auto`, `cpu`, `cuda` or `cuda:N`. */
  readonly device: string;
  /** Threads for one operator; 0 or absent: as many as this process may keep busy. */
  readonly threads?: number;
  /** Tokens in one run of the encoder, and prompt tokens in a micro-batch of several requests. */
  readonly encodeTokenBudget: number;
  /** Longest a request waits for others of its bundle. */
  readonly batchWaitMs: number;
  /** Bytes of prompt embeddings the child keeps. */
  readonly promptCacheBytes: number;
  /** Bytes the process may take; 0 or absent: what the machine and its cgroup have left when a bundle is loaded. */
  readonly memoryLimitBytes?: number;
  /** How long canceled work may take to stop by itself before its process is killed. */
  readonly cancelGraceMs: number;
  /** Crashes in a row, none of them after the engine was ready, that end in the state `failed`. */
  readonly maxRestarts?: number;
  /** Wait before the second of such restarts; it doubles with each. The first comes at once. */
  readonly restartDelayMs?: number;
  /** Environment of the process: as a rule that of this one. */
  readonly environment: NodeJS.ProcessEnv;
  readonly logger: Logger;
};

/** More than a machine under pressure needs to recover, few enough to be told of within minutes. */
const MAX_RESTARTS = 6;
const RESTART_DELAY_MS = 250;
const MAX_RESTART_DELAY_MS = 30_000;
/** Times a piece of work may lose its process: once is bad luck, twice looks like the work's own fault. */
const MAX_LOSSES = 2;

/**
 * Starts the child process on the wanted device and returns its engine, with no bundle loaded.
 * Errors: `device-unavailable`; `engine-lost` when the process does not start.
 */
export async function createEngine(options: EngineOptions): Promise<Engine> {
  const wanted = parseDevice(options.device);
  const threads = options.threads || availableThreads();
  return ChildEngine.start({ ...options, threads }, wanted);
}

/** A request on its way. */
type Pending = {
  readonly id: number;
  readonly bundle: Bundle;
  readonly request: InferenceRequest;
  readonly arrivedAtMs: number;
  readonly resolve: (inference: Inference) => void;
  readonly reject: (error: unknown) => void;
  readonly onProgress: (progress: InferenceProgress) => void;
  losses: number;
  /** Rejected already: whatever the child still says of it is of no interest. */
  canceled: boolean;
  graceTimer?: NodeJS.Timeout;
  /** Canceled, and not stopped within its grace. */
  overdue: boolean;
};

/** A bundle that has been asked for and is not loaded. */
type Loading = PromiseWithResolvers<void> & { readonly bundle: Bundle; losses: number };

/** What the child is doing. */
type Task =
  | { readonly kind: 'open' }
  | { readonly kind: 'load'; readonly loading: Loading }
  | { readonly kind: 'batch'; readonly requests: Map<number, Pending>; on: number | 'batch' };

class ChildEngine implements Engine {
  static async start(
    options: EngineOptions & { readonly threads: number },
    wanted: WantedDevice,
  ): Promise<ChildEngine> {
    const engine = new ChildEngine(options);
    engine.#launch(wanted);
    try {
      await engine.#first.promise;
    } catch (error) {
      await engine.close();
      throw error;
    }
    return engine;
  }

  readonly #onMessage: Handlers<FromChildRecords> = {
    opened: ({ device, fallback }) => {
      const { logger } = this.#options;
      if (fallback) {
        const { reason, expected } = fallback;
        logger[expected ? 'info' : 'warn']({ reason }, 'no CUDA device: running on the CPU');
      }
      logger.info({ device, childPid: this.#child?.pid }, 'inference process started');
      this.#device = device;
    },
    refused: ({ failure }) => {
      this.#options.logger.error({ reason: failure.detail }, 'the device cannot be used');
      this.#first.reject(errorOf(failure));
    },
    loaded: (message) => this.#bundleLoaded(message),
    unloadable: ({ digest, failure }) => this.#bundleUnloadable(digest, failure),
    working: ({ on }) => {
      if (this.#task?.kind === 'batch') this.#task.on = on;
    },
    progress: ({ of, progress }) => this.#reportProgress(of, progress),
    decoded: (message) => this.#decoded(message),
    stopped: ({ id }) => void this.#finish(id),
    failed: ({ id, failure }) => this.#requestFailed(id, failure),
    tokens: ({ id, values }) => this.#readers.get(id)?.push(values),
    idle: ({ residentBytes, peakResidentBytes, promptCacheBytes }) => {
      this.#residentBytes = residentBytes;
      this.#peakResidentBytes = peakResidentBytes;
      this.#promptCacheBytes = promptCacheBytes;
      this.#task = undefined;
      this.#first.resolve();
      this.#dispatch();
    },
  };
  readonly #options: EngineOptions & { readonly threads: number };
  /** Settles when the first child is there, or cannot be. */
  readonly #first = Promise.withResolvers<void>();
  /** What the first child found; later ones must use the same, since another would give other bytes. */
  #device: Device | undefined;
  /** Absent between the end of one and the start of the next. */
  #child: InferenceProcess | undefined;
  /** Absent when the child is free. */
  #task: Task | undefined;
  #queue: Pending[] = [];
  /** By digest, in the order in which they were asked for. */
  readonly #loading = new Map<string, Loading>();
  readonly #loaded = new Map<string, Bundle>();
  /** Why a bundle does not load or run, by digest. */
  readonly #unloadable = new Map<string, string>();
  readonly #readers = new Map<number, DecodeStream>();
  #batchTimer: NodeJS.Timeout | undefined;
  #restartTimer: NodeJS.Timeout | undefined;
  #lastId = 0;
  #restarts = 0;
  /** Unwanted ends of the child since the engine was last ready. */
  #crashes = 0;
  #killing = false;
  #failure: string | undefined;
  #closed = false;
  #ended: Promise<void> | undefined;
  #residentBytes = 0;
  #peakResidentBytes = 0;
  #promptCacheBytes = 0;

  private constructor(options: EngineOptions & { readonly threads: number }) {
    this.#options = options;
  }

  get device(): Device {
    return this.#device!;
  }

  async load(bundle: Bundle, options: { signal?: AbortSignal } = {}): Promise<void> {
    options.signal?.throwIfAborted();
    this.#assertUsable();
    if (this.#loaded.has(bundle.digest)) return;
    const loading = this.#askFor(bundle);
    this.#dispatch();
    await unlessAborted(loading.promise, options.signal);
  }

  async infer(
    request: InferenceRequest,
    options: { signal?: AbortSignal; onProgress?: (progress: InferenceProgress) => void } = {},
  ): Promise<Inference> {
    const { signal, onProgress = () => {} } = options;
    signal?.throwIfAborted();
    this.#assertUsable();
    checkRequest(request);
    const { promise, resolve, reject } = Promise.withResolvers<Inference>();
    const pending: Pending = {
      id: ++this.#lastId,
      bundle: request.bundle,
      request,
      arrivedAtMs: performance.now(),
      resolve,
      reject,
      onProgress: neverFalling(onProgress),
      losses: 0,
      canceled: false,
      overdue: false,
    };
    this.#queue.push(pending);
    this.#dispatch();
    const abort = () => this.#cancel(pending, signal?.reason);
    signal?.addEventListener('abort', abort, { once: true });
    try {
      return await promise;
    } finally {
      signal?.removeEventListener('abort', abort);
    }
  }

  status(): EngineStatus {
    return {
      state: this.#state(),
      device: this.device,
      bundles: [...this.#loaded.keys()],
      restarts: this.#restarts,
      residentBytes: this.#residentBytes,
      peakResidentBytes: this.#peakResidentBytes,
      promptCacheBytes: this.#promptCacheBytes,
      unloadable: [...this.#unloadable].map(([digest, reason]) => ({ digest, reason })),
      ...(this.#failure !== undefined && { error: this.#failure }),
    };
  }

  close(): Promise<void> {
    this.#closed = true;
    this.#ended ??= this.#end();
    return this.#ended;
  }

  async #end(): Promise<void> {
    clearTimeout(this.#restartTimer);
    clearTimeout(this.#batchTimer);
    this.#rejectEverything(inferenceErrors.engineClosed('The engine was closed.'));
    await this.#child?.kill();
  }

  #state(): EngineStatus['state'] {
    if (this.#closed) return 'closed';
    if (this.#failure !== undefined) return 'failed';
    if (this.#child && this.#task?.kind !== 'open' && this.#loading.size === 0) return 'ready';
    return this.#restarts === 0 ? 'starting' : 'restarting';
  }

  #assertUsable(): void {
    if (this.#closed) throw inferenceErrors.engineClosed('The engine is closed.');
    if (this.#failure !== undefined) throw inferenceErrors.engineLost(this.#failure);
  }

  #askFor(bundle: Bundle): Loading {
    const known = this.#loading.get(bundle.digest);
    if (known) return known;
    const loading = { ...Promise.withResolvers<void>(), bundle, losses: 0 };
    // Whoever waits for it is told; a reload after a restart has nobody waiting.
    loading.promise.catch(() => {});
    this.#loading.set(bundle.digest, loading);
    return loading;
  }

  /** Gives the child its next task, if it is free and there is one. */
  #dispatch(): void {
    clearTimeout(this.#batchTimer);
    if (this.#closed || this.#task || !this.#child) return;
    const [head, ...later] = this.#queue;
    if (head && !this.#loaded.has(head.bundle.digest)) this.#askFor(head.bundle);
    const [loading] = this.#loading.values();
    if (loading) {
      this.#task = { kind: 'load', loading };
      this.#options.logger.debug(
        { model: loading.bundle.manifest.id, digest: loading.bundle.digest },
        'loading',
      );
      this.#child.send({ type: 'load', bundle: loading.bundle });
      return;
    }
    this.#crashes = 0;
    if (!head) return;
    const { requests, dueInMs } = nextBatch([head, ...later], {
      tokenBudget: this.#options.encodeTokenBudget,
      waitMs: this.#options.batchWaitMs,
      nowMs: performance.now(),
    });
    if (dueInMs > 0) {
      this.#batchTimer = setTimeout(() => this.#dispatch(), Math.ceil(dueInMs));
      return;
    }
    this.#queue = this.#queue.filter((pending) => !requests.includes(pending));
    this.#task = { kind: 'batch', requests: new Map(requests.map((each) => [each.id, each])), on: 'batch' };
    this.#child.send({
      type: 'batch',
      digest: head.bundle.digest,
      requests: requests.map(({ id, request: { prompts, blocks } }) => ({ id, prompts, blocks })),
    });
  }

  #cancel(pending: Pending, reason: unknown): void {
    pending.canceled = true;
    pending.reject(reason);
    this.#queue = this.#queue.filter((other) => other !== pending);
    if (this.#task?.kind !== 'batch' || !this.#task.requests.has(pending.id)) return;
    this.#child!.send({ type: 'cancel', id: pending.id });
    pending.graceTimer = setTimeout(() => {
      pending.overdue = true;
      this.#endWastedWork();
    }, this.#options.cancelGraceMs);
  }

  /**
   * Kills the child if it is stuck in work that nobody has wanted for a while. Finished decodes that are still being read
   * would be lost with it, and they were more work than the rest of one run: then it goes on until they have been read.
   */
  #endWastedWork(): void {
    const task = this.#task;
    if (task?.kind !== 'batch' || this.#readers.size > 0) return;
    const concerned = task.on === 'batch' ? [...task.requests.values()] : [task.requests.get(task.on)];
    if (!concerned.every((pending) => pending?.overdue)) return;
    this.#options.logger.info(
      { childPid: this.#child?.pid },
      'canceled work did not stop: ending its process',
    );
    this.#killing = true;
    void this.#child?.kill();
  }

  #launch(wanted: WantedDevice): void {
    const { logger, environment, threads, encodeTokenBudget, promptCacheBytes } = this.#options;
    const { memoryLimitBytes = 0 } = this.#options;
    const child = new InferenceProcess({
      logger,
      environment,
      onMessage: (message) => handle(this.#onMessage, message),
    });
    this.#child = child;
    this.#task = { kind: 'open' };
    child.send({
      type: 'open',
      device: wanted,
      threads,
      encodeTokenBudget,
      promptCacheBytes,
      memoryLimitBytes,
    });
    void child.exited.then((how) => this.#childEnded(how));
  }

  #reportProgress(of: number | 'batch', progress: InferenceProgress): void {
    if (this.#task?.kind !== 'batch') return;
    for (const pending of this.#task.requests.values()) {
      const meant = of === 'batch' || of === pending.id;
      if (meant && !pending.canceled) pending.onProgress(progress);
    }
  }

  /** Takes a request out of the running batch; returns it unless it has been canceled. */
  #finish(id: number): Pending | undefined {
    if (this.#task?.kind !== 'batch') return undefined;
    const pending = this.#task.requests.get(id);
    this.#task.requests.delete(id);
    clearTimeout(pending?.graceTimer);
    return pending?.canceled ? undefined : pending;
  }

  #requestFailed(id: number, failure: Failure): void {
    const task = this.#task;
    const bundle = task?.kind === 'batch' ? task.requests.get(id)?.bundle : undefined;
    // The first run of a bundle that loads: it does not run all the same.
    if (bundle && failure.code === inferenceErrors.unloadable.spec.code) {
      this.#unloadable.set(bundle.digest, failure.detail);
    }
    this.#finish(id)?.reject(errorOf(failure));
  }

  #bundleLoaded(message: FromChildRecords['loaded']): void {
    const { digest, loadMs, stages, fixedShape } = message;
    const loading = this.#loading.get(digest)!;
    this.#loading.delete(digest);
    this.#loaded.set(digest, loading.bundle);
    this.#unloadable.delete(digest);
    this.#options.logger.info(
      { model: loading.bundle.manifest.id, digest, loadMs: Math.round(loadMs), stages, fixedShape },
      'bundle loaded',
    );
    loading.resolve();
  }

  #bundleUnloadable(digest: string, failure: Failure): void {
    const loading = this.#loading.get(digest)!;
    this.#options.logger.error(
      { model: loading.bundle.manifest.id, digest, reason: failure.detail },
      'bundle',
    );
    this.#giveUpLoading(loading, errorOf(failure));
  }

  /** Forgets a bundle that does not load, and the requests that wait for it. */
  #giveUpLoading(loading: Loading, error: Error): void {
    const { digest } = loading.bundle;
    this.#loading.delete(digest);
    this.#unloadable.set(digest, error.message);
    loading.reject(error);
    for (const pending of this.#queue) if (pending.bundle.digest === digest) pending.reject(error);
    this.#queue = this.#queue.filter((pending) => pending.bundle.digest !== digest);
  }

  #decoded(message: FromChildRecords['decoded']): void {
    const { id, embeddingMs, decodingMs, promptsCached, promptsEncoded } = message;
    const child = this.#child!;
    const pending = this.#finish(id);
    if (!pending) {
      child.send({ type: 'release', id });
      return;
    }
    const [, height, width] = pending.bundle.manifest.decoder.features.at(-1)!;
    const reader = createDecodeStream({
      blocks: pending.request.blocks,
      tokenFloats: height * width,
      pull: (chunks) => child.send({ type: 'pull', id, chunks }),
      end: () => {
        this.#readers.delete(id);
        child.send({ type: 'release', id });
        this.#endWastedWork();
      },
    });
    this.#readers.set(id, reader);
    this.#unloadable.delete(pending.bundle.digest);
    const totalMs = performance.now() - pending.arrivedAtMs;
    pending.resolve({
      timings: { batchingMs: Math.max(0, totalMs - embeddingMs - decodingMs), embeddingMs, decodingMs },
      promptsCached,
      promptsEncoded,
      device: this.device,
      tokens: reader.tokens,
      release: () => reader.release(),
    });
  }

  /** The child is gone: what it held is lost or goes back to the queue, and another one takes its place. */
  #childEnded(how: string): void {
    const task = this.#task;
    const wanted = this.#killing;
    this.#child = undefined;
    this.#task = undefined;
    this.#killing = false;
    this.#residentBytes = 0;
    this.#peakResidentBytes = 0;
    this.#promptCacheBytes = 0;
    if (this.#closed) return;

    const lost = inferenceErrors.engineLost(`The inference process ended (${how}).`);
    for (const reader of this.#readers.values()) reader.fail(lost);
    this.#readers.clear();
    if (!this.#device) {
      this.#first.reject(lost);
      return;
    }
    if (task?.kind === 'batch') this.#requeue(task, { blame: !wanted, lost });
    if (task?.kind === 'load' && ++task.loading.losses >= MAX_LOSSES) this.#giveUpLoading(task.loading, lost);
    // Bundles that have run before are tried again for as long as the engine is: without them it is of no use.
    for (const bundle of this.#loaded.values()) this.#askFor(bundle).losses = Number.NEGATIVE_INFINITY;
    this.#loaded.clear();

    const { logger, maxRestarts = MAX_RESTARTS, restartDelayMs = RESTART_DELAY_MS } = this.#options;
    if (!wanted) {
      this.#crashes++;
      logger.error({ how, crashes: this.#crashes }, 'the inference process ended by itself');
    }
    if (this.#crashes > maxRestarts) {
      this.#failure = `The inference process ended ${this.#crashes} times in a row before it was ready (${how}).`;
      logger.fatal({ how }, this.#failure);
      this.#rejectEverything(inferenceErrors.engineLost(this.#failure));
      return;
    }
    const delayMs =
      this.#crashes < 2 ? 0 : Math.min(MAX_RESTART_DELAY_MS, restartDelayMs * 2 ** (this.#crashes - 2));
    const { provider, index = 0 } = this.#device;
    this.#restarts++;
    this.#restartTimer = setTimeout(() => this.#launch({ provider, index, optional: false }), delayMs);
  }

  /** Puts the requests of a lost batch back in front, except those that have now lost their process too often. */
  #requeue(task: Extract<Task, { kind: 'batch' }>, { blame, lost }: { blame: boolean; lost: Error }): void {
    const again: Pending[] = [];
    for (const pending of task.requests.values()) {
      clearTimeout(pending.graceTimer);
      if (pending.canceled) continue;
      if (blame && (task.on === 'batch' || task.on === pending.id)) pending.losses++;
      if (pending.losses < MAX_LOSSES) again.push(pending);
      else pending.reject(lost);
    }
    this.#queue.unshift(...again);
  }

  #rejectEverything(error: Error): void {
    const running = this.#task?.kind === 'batch' ? [...this.#task.requests.values()] : [];
    for (const pending of [...running, ...this.#queue]) {
      clearTimeout(pending.graceTimer);
      pending.canceled = true;
      pending.reject(error);
    }
    this.#queue = [];
    for (const loading of this.#loading.values()) loading.reject(error);
    this.#loading.clear();
    for (const reader of this.#readers.values()) reader.fail(error);
    this.#readers.clear();
  }
}

/** Errors: `prompts-unusable`; a block outside the tokens is a mistake of the caller's code. */
function checkRequest({ bundle, prompts, blocks }: InferenceRequest): void {
  const { condition, decoder } = bundle.manifest;
  if (prompts.length !== condition.prompts) {
    throw inferenceErrors.badPrompts(
      `The bundle makes a condition of ${condition.prompts} prompts, not of ${prompts.length}.`,
    );
  }
  const [tokens] = decoder.features.at(-1)!;
  for (const { start, count } of blocks) {
    const whole = Number.isInteger(start) && Number.isInteger(count);
    if (!whole || start < 0 || count < 0 || start + count > tokens) {
      throw new RangeError(`tokens ${start}+${count} are not among the ${tokens} of the bundle`);
    }
  }
}

/** Passes progress on unless it is behind what was told before, as it is when work starts again in a new process. */
function neverFalling(tell: (progress: InferenceProgress) => void): (progress: InferenceProgress) => void {
  let reached = -1;
  return (progress) => {
    const place = (progress.stage === 'decoding' ? 1 : 0) + progress.fraction;
    // The end of the embedding and the start of the decoding are one place and two messages.
    if (place < reached) return;
    reached = place;
    tell(progress);
  };
}

/** The promise's result, unless the signal is aborted first. */
async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise;
  const aborted = Promise.withResolvers<never>();
  const abort = () => aborted.reject(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  try {
    return await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
