/** What the engine and its child process tell each other (structured clone, one ordered channel each way). */
import type { Sha256 } from '../base/digest.ts';
import type { Bundle } from '../models/bundle.ts';
import type { Fallback, WantedDevice } from './device.ts';
import type { Device, InferenceProgress, TokenBlock } from './engine.ts';
import type { Tagged } from './tagged.ts';

/** Most floats of one `tokens` message: 1 MiB, so that neither event loop is held up by copying one. */
export const CHUNK_FLOATS = 262_144;

/** A failure on its way through the channel; `code` is one of the room's error codes. */
export type Failure = { readonly code: string; readonly detail: string };

/** One request of a micro-batch. */
export type BatchRequest = {
  readonly id: number;
  readonly prompts: readonly string[];
  readonly blocks: readonly TokenBlock[];
};

/**
 * Messages from the engine to the child, by type. `open` comes first and once; then one `load` or `batch` at a time. The child
 * answers each of the three with `idle` when it is done.
 */
export type ToChildRecords = {
  readonly open: {
    readonly device: WantedDevice;
    readonly threads: number;
    readonly encodeTokenBudget: number;
    readonly promptCacheBytes: number;
    /** Bytes the process may take; 0: what there is. */
    readonly memoryLimitBytes: number;
  };
  readonly load: { readonly bundle: Bundle };
  readonly batch: { readonly digest: Sha256; readonly requests: readonly BatchRequest[] };
  /** Stop this request at the next opportunity; answered by `stopped` when it had not ended already. */
  readonly cancel: { readonly id: number };
  /** The reader has room for that many more `tokens` messages of this request. */
  readonly pull: { readonly id: number; readonly chunks: number };
  /** Nobody reads this request's tokens any more. */
  readonly release: { readonly id: number };
};

/** A message from the engine to the child. */
export type ToChild = Tagged<ToChildRecords>;

/** Messages from the child to the engine, by type. */
export type FromChildRecords = {
  readonly opened: { readonly device: Device; readonly fallback?: Fallback };
  /** The device does not work; the child ends. */
  readonly refused: { readonly failure: Failure };
  readonly loaded: {
    readonly digest: Sha256;
    readonly loadMs: number;
    /** Graphs of one decode. */
    readonly stages: number;
    /** Whether encoder runs are filled up to one shape (see encoder.ts). */
    readonly fixedShape: boolean;
  };
  readonly unloadable: { readonly digest: Sha256; readonly failure: Failure };
  /** What the child works on from now until the next such message: one request, or the embedding of the whole batch. */
  readonly working: { readonly on: number | 'batch' };
  /** Progress of one request, or of all that are still in the batch. */
  readonly progress: { readonly of: number | 'batch'; readonly progress: InferenceProgress };
  readonly decoded: {
    readonly id: number;
    readonly embeddingMs: number;
    readonly decodingMs: number;
    /** When the embedding of its batch and its own decode began, in milliseconds since the epoch. */
    readonly embeddingAt: number;
    readonly decodingAt: number;
    readonly promptsCached: number;
    readonly promptsEncoded: number;
  };
  readonly stopped: { readonly id: number };
  readonly failed: { readonly id: number; readonly failure: Failure };
  /** The next floats of a request's blocks, all blocks one after the other. */
  readonly tokens: { readonly id: number; readonly values: Float32Array };
  readonly idle: {
    readonly residentBytes: number;
    readonly peakResidentBytes: number;
    readonly promptCacheBytes: number;
  };
};

/** A message from the child to the engine. */
export type FromChild = Tagged<FromChildRecords>;
