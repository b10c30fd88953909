/** The port of the inference room: what the pipeline asks of whatever owns the ONNX sessions. */
import type { Dtype } from '../base/dtype.ts';
import type { Bundle } from '../models/bundle.ts';
import type { Span } from '../observability/tracing.ts';

/** Where the sessions run. */
export type Device = {
  readonly provider: 'cpu' | 'cuda';
  /** CUDA device number; absent on CPU. */
  readonly index?: number;
  /** How people are shown it: `cpu`, `cuda:0`. */
  readonly name: string;
  /** Threads the provider may use for one operator (CPU). */
  readonly threads: number;
};

/** One condition, and what is wanted of it. */
export type InferenceRequest = {
  readonly bundle: Bundle;
  /** Exactly N prompts, in the order that enters the condition (the order matters numerically, spec §1.1). */
  readonly prompts: readonly string[];
  /** Number format of the adapter's file. */
  readonly dtype: Dtype;
};

/** How far a request is. `fraction` rises from 0 to 1 inside a stage. */
export type InferenceProgress = { readonly stage: 'embedding' | 'decoding'; readonly fraction: number };

/** Milliseconds a request spent in each part of the work, measured where that work is done. The job queue is not in it. */
export type InferenceTimings = {
  /** Waiting for the micro-batch to fill and for the device. */
  readonly batchingMs: number;
  /** Tokenising and encoding, this request's share of its micro-batch. */
  readonly embeddingMs: number;
  readonly decodingMs: number;
};

/** A decoded condition whose LoRA matrices can be read once. */
export type Inference = {
  readonly timings: InferenceTimings;
  /** Distinct prompts that came from the prompt cache, and that had to be encoded. */
  readonly promptsCached: number;
  readonly promptsEncoded: number;
  readonly device: Device;
  /**
   * The bytes of the adapter's tensors, in the order of its file (`loraTensors`), in pieces of any size; can be read once.
   * Reading to the end, or leaving the loop early, gives their room back; whoever may fail before the first step calls
   * {@link release}. Ends with `adapter-not-finite` naming the tensor; with `engine-lost` when the child dies before it has
   * made all of them.
   */
  readonly pieces: AsyncIterable<Uint8Array>;
  /** Gives back what the engine keeps of the adapter, read or not. Idempotent. */
  release(): void;
};

/** What readiness and metrics show of the engine. */
export type EngineStatus = {
  /** `ready` only when every bundle that was asked for and can be loaded is loaded. */
  readonly state: 'starting' | 'ready' | 'restarting' | 'failed' | 'closed';
  readonly device: Device;
  /** Digests of the loaded bundles. */
  readonly bundles: readonly string[];
  /** Times the child was replaced since start, for whatever reason. */
  readonly restarts: number;
  /** Resident bytes of the child, as it last reported. */
  readonly residentBytes: number;
  /** The most `residentBytes` has been since this child started. */
  readonly peakResidentBytes: number;
  readonly promptCacheBytes: number;
  /** Bundles that were asked for and do not load or run, each with a reason that clients may see. */
  readonly unloadable: readonly { readonly digest: string; readonly reason: string }[];
  /** Why the state is `failed`. */
  readonly error?: string;
};

/** How a request is followed. */
export type InferOptions = {
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: InferenceProgress) => void;
  /** What the spans of batching, embedding and decoding are parts of. */
  readonly span?: Span;
};

/** Owns one device. */
export type Engine = {
  readonly device: Device;
  /**
   * Loads a bundle's sessions and, where that does not take long, runs them once. Idempotent.
   * Errors: `bundle-unloadable`; `insufficient-memory` before anything is loaded, by the manifest's estimates.
   */
  load(bundle: Bundle, options?: { signal?: AbortSignal }): Promise<void>;
  /**
   * Runs one request (together with others of the same bundle, where that saves encoding). Aborting the signal rejects
   * with its reason at once; the work itself stops between stages or with the child.
   */
  infer(request: InferenceRequest, options?: InferOptions): Promise<Inference>;
  status(): EngineStatus;
  /** Ends the child. Idempotent. */
  close(): Promise<void>;
};
