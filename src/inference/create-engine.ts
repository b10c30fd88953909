/** The engine of one device: requests come in, the scheduler decides, a supervised child process runs. */

import type { Bundle } from '../models/bundle.ts';
import { adapterBytes } from './adapter-bytes.ts';
import { AdapterStreams } from './adapter-streams.ts';
import { availableThreads } from './available-threads.ts';
import { findWanted } from './bundle-states.ts';
import { checkRequest } from './check-request.ts';
import { parseDevice, type WantedDevice } from './device.ts';
import type {
  Device,
  Engine,
  EngineStatus,
  Inference,
  InferenceProgress,
  InferenceRequest,
  InferOptions,
} from './engine.ts';
import type { EngineOptions } from './engine-options.ts';
import { inferenceErrors } from './errors.ts';
import { errorOf, failureOf } from './failure.ts';
import { type BatchedRequest, createBatchObserver } from './observe-batches.ts';
import type { FromChildRecords } from './protocol.ts';
import { risingProgress } from './rising-progress.ts';
import { nextTickAtMs, requestsAt, schedule } from './scheduler.ts';
import { INITIAL_STATE, type SchedulerActions, type SchedulerEvent } from './scheduler-state.ts';
import { openSpool, type Spool } from './spool.ts';
import { Supervisor } from './supervisor.ts';
import { type Handlers, handle } from './tagged.ts';
import { unlessAborted } from './unless-aborted.ts';

/**
 * Starts the child process on the wanted device and returns its engine, with no bundle loaded.
 * Errors: `device-unavailable`; `engine-lost` when the process does not start.
 */
export async function createEngine(options: EngineOptions): Promise<Engine> {
  const wanted = parseDevice(options.device);
  return ChildEngine.start(options, wanted);
}

/** A request whose caller waits for it. */
type Call = BatchedRequest & {
  readonly resolve: (inference: Inference) => void;
  readonly reject: (error: unknown) => void;
  readonly onProgress: (progress: InferenceProgress) => void;
};

/** Knows callers, timers and the process; what is done when is the scheduler's decision alone. */
class ChildEngine implements Engine {
  static async start(options: EngineOptions, wanted: WantedDevice): Promise<ChildEngine> {
    const engine = new ChildEngine(options, wanted, openSpool());
    try {
      await engine.#supervisor.started;
    } catch (error) {
      await engine.close();
      throw error;
    }
    return engine;
  }

  readonly #onMessage: Handlers<FromChildRecords> = {
    opened: (message) => this.#supervisor.noteOpened(message),
    refused: (message) => this.#supervisor.noteRefused(message),
    loaded: (message) => {
      this.#logLoaded(message);
      this.#step({ type: 'loaded', digest: message.digest });
    },
    unloadable: ({ digest, failure }) => {
      const model = findWanted(this.#state.bundles, digest)?.bundle.manifest.id;
      this.#options.logger.error({ model, digest, reason: failure.detail }, 'bundle');
      this.#step({ type: 'unloadable', digest, failure });
    },
    working: ({ on }) => this.#step({ type: 'working', on }),
    progress: ({ of, progress }) => {
      for (const id of requestsAt(this.#state, of)) this.#calls.get(id)?.onProgress(progress);
    },
    decoded: (decode) => this.#step({ ...decode, type: 'decoded' }),
    stopped: ({ id }) => {
      this.#streams.fail(id, undefined);
      this.#step({ type: 'stopped', id });
    },
    failed: ({ id, failure }) => {
      this.#streams.fail(id, errorOf(failure));
      this.#step({ type: 'failed', id, failure });
    },
    written: ({ id, bytes }) => this.#streams.noteWritten(id, bytes),
    unwritten: ({ id, failure }) => this.#streams.fail(id, errorOf(failure)),
    idle: (message) => {
      this.#batches.ended();
      this.#supervisor.noteIdle(message);
      this.#step({ type: 'idle' });
    },
  };
  readonly #onAction: Handlers<SchedulerActions> = {
    load: ({ bundle }) => {
      const { digest, manifest } = bundle;
      this.#options.logger.debug({ model: manifest.id, digest }, 'loading');
      this.#supervisor.send({ type: 'load', bundle });
    },
    run: ({ digest, ids }) => {
      const calls = ids.map((id) => ({ id, ...this.#calls.get(id)! }));
      this.#batches.started(calls);
      const requests = calls.map(({ id, request: { bundle, prompts, dtype } }) => ({
        id,
        prompts,
        dtype,
        at: this.#streams.reserve(id, adapterBytes(bundle.manifest.layout, dtype)),
      }));
      this.#supervisor.send({ type: 'batch', digest, requests });
    },
    stop: ({ id }) => this.#supervisor.send({ type: 'cancel', id }),
    endProcess: () => this.#supervisor.endProcess(),
    ready: () => this.#supervisor.noteReady(),
    deliver: (decode) => this.#deliver(decode),
    reject: ({ id, failure }) => this.#takeCall(id)?.reject(errorOf(failure)),
    resolveLoad: ({ digest }) => this.#takeLoad(digest)?.resolve(),
    rejectLoad: ({ digest, failure }) => this.#takeLoad(digest)?.reject(errorOf(failure)),
  };
  readonly #options: EngineOptions;
  readonly #batches;
  readonly #supervisor: Supervisor;
  readonly #spool: Spool;
  readonly #streams: AdapterStreams;
  /** Requests whose callers wait, by id. */
  readonly #calls = new Map<number, Call>();
  /** Bundles whose loading callers wait for, by digest. */
  readonly #loads = new Map<string, PromiseWithResolvers<void>>();
  #state = INITIAL_STATE;
  #tickTimer: NodeJS.Timeout | undefined;
  #lastId = 0;
  #ended: Promise<void> | undefined;

  private constructor(options: EngineOptions, device: WantedDevice, spool: Spool) {
    this.#options = options;
    this.#spool = spool;
    this.#streams = new AdapterStreams(spool);
    this.#batches = createBatchObserver(options.metrics);
    const { encodeTokenBudget, promptCacheBytes, memoryLimitBytes = 0 } = options;
    const threads = options.threads || availableThreads();
    this.#supervisor = new Supervisor({
      device,
      opening: { threads, encodeTokenBudget, promptCacheBytes, memoryLimitBytes },
      spool: spool.descriptor,
      environment: options.environment,
      logger: options.logger,
      maxRestarts: options.maxRestarts,
      restartDelayMs: options.restartDelayMs,
      onMessage: (message) => handle(this.#onMessage, message),
      onLost: (loss) => {
        this.#batches.ended(errorOf(loss.failure));
        this.#streams.failAll(errorOf(loss.failure));
        this.#step({ type: 'lost', ...loss });
      },
      onFailed: (failure) => this.#step({ type: 'end', failure }),
    });
  }

  get device(): Device {
    return this.#supervisor.device;
  }

  async load(bundle: Bundle, options: { signal?: AbortSignal } = {}): Promise<void> {
    options.signal?.throwIfAborted();
    this.#assertUsable();
    const { digest } = bundle;
    if (this.#state.bundles.loaded.has(digest)) return;
    const load = this.#loads.get(digest) ?? Promise.withResolvers<void>();
    this.#loads.set(digest, load);
    // All of its callers may have stopped waiting by the time it fails.
    load.promise.catch(() => {});
    this.#step({ type: 'load', bundle });
    await unlessAborted(load.promise, options.signal);
  }

  async infer(request: InferenceRequest, options: InferOptions = {}): Promise<Inference> {
    const { signal, onProgress = () => {}, span } = options;
    signal?.throwIfAborted();
    this.#assertUsable();
    checkRequest(request);
    const { promise, resolve, reject } = Promise.withResolvers<Inference>();
    const id = ++this.#lastId;
    const arrivedAtMs = performance.now();
    const follow = { onProgress: risingProgress(onProgress), span };
    this.#calls.set(id, { request, arrivedAtMs, resolve, reject, ...follow });
    this.#step({ type: 'infer', id, bundle: request.bundle });
    const abort = () => {
      this.#takeCall(id)?.reject(signal?.reason);
      this.#step({ type: 'cancel', id });
    };
    signal?.addEventListener('abort', abort, { once: true });
    try {
      return await promise;
    } finally {
      signal?.removeEventListener('abort', abort);
    }
  }

  status(): EngineStatus {
    const { life, restarts, memory } = this.#supervisor;
    const { loaded, unloadable } = this.#state.bundles;
    return {
      state: this.#stateName(),
      device: this.device,
      bundles: [...loaded.keys()],
      restarts,
      ...memory,
      unloadable: [...unloadable].map(([digest, reason]) => ({ digest, reason })),
      ...(life.kind === 'failed' && { error: life.reason }),
    };
  }

  close(): Promise<void> {
    this.#ended ??= this.#end();
    return this.#ended;
  }

  async #end(): Promise<void> {
    const closed = inferenceErrors.engineClosed('The engine was closed.');
    const ended = this.#supervisor.close();
    this.#streams.failAll(closed);
    this.#step({ type: 'end', failure: failureOf(closed) });
    await ended;
    this.#spool.close();
  }

  #stateName(): EngineStatus['state'] {
    const { life, restarts } = this.#supervisor;
    if (life.kind === 'closed' || life.kind === 'failed') return life.kind;
    const hasProcess = life.kind === 'open' || life.kind === 'ending';
    if (hasProcess && this.#state.bundles.wanted.length === 0) return 'ready';
    return restarts === 0 ? 'starting' : 'restarting';
  }

  #assertUsable(): void {
    const { life } = this.#supervisor;
    if (life.kind === 'closed') throw inferenceErrors.engineClosed('The engine is closed.');
    if (life.kind === 'failed') throw inferenceErrors.engineLost(life.reason);
  }

  /** Tells the scheduler what happened, and does what it says. */
  #step(event: SchedulerEvent): void {
    const { state, actions } = schedule(this.#state, event, this.#options, performance.now());
    this.#state = state;
    for (const action of actions) handle(this.#onAction, action);
    clearTimeout(this.#tickTimer);
    const tickAtMs = nextTickAtMs(this.#state);
    if (tickAtMs === undefined) return;
    const delayMs = Math.ceil(tickAtMs - performance.now());
    this.#tickTimer = setTimeout(() => this.#step({ type: 'tick' }), delayMs);
  }

  #deliver(decode: FromChildRecords['decoded']): void {
    const { id, embeddingMs, decodingMs, promptsCached, promptsEncoded } = decode;
    const call = this.#takeCall(id)!;
    const { arrivedAtMs, resolve } = call;
    this.#batches.decoded(call, decode);
    const stream = this.#streams.open(id);
    const totalMs = performance.now() - arrivedAtMs;
    resolve({
      timings: { batchingMs: Math.max(0, totalMs - embeddingMs - decodingMs), embeddingMs, decodingMs },
      promptsCached,
      promptsEncoded,
      device: this.device,
      pieces: stream.pieces,
      release: stream.release,
    });
  }

  /** The call of this id, which is about to be settled. */
  #takeCall(id: number): Call | undefined {
    const call = this.#calls.get(id);
    this.#calls.delete(id);
    return call;
  }

  #takeLoad(digest: string): PromiseWithResolvers<void> | undefined {
    const load = this.#loads.get(digest);
    this.#loads.delete(digest);
    return load;
  }

  #logLoaded({ digest, loadMs, stages, fixedShape }: FromChildRecords['loaded']): void {
    const model = findWanted(this.#state.bundles, digest)?.bundle.manifest.id;
    const rounded = Math.round(loadMs);
    this.#options.logger.info({ model, digest, loadMs: rounded, stages, fixedShape }, 'bundle loaded');
  }
}
