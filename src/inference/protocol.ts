/** What the engine and its child process tell each other (structured clone, one ordered channel each way). */
import type { Sha256 } from '../base/digest.ts';
import type { Dtype } from '../base/dtype.ts';
import type { Bundle } from '../models/bundle.ts';
import type { Fallback, WantedDevice } from './device.ts';
import type { Device, InferenceProgress } from './engine.ts';
import type { Tagged } from './tagged.ts';

/** A failure on its way through the channel; `code` is one of the room's error codes. */
export type Failure = { readonly code: string; readonly detail: string };

/** One request of a micro-batch. */
export type BatchRequest = {
  readonly id: number;
  readonly prompts: readonly string[];
  readonly dtype: Dtype;
  /** Where in the spool the bytes of its tensors go. */
  readonly at: number;
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
  /** So many bytes of a request that has been decoded are in the spool. */
  readonly written: { readonly id: number; readonly bytes: number };
  /** The rest of a request that has been decoded will not come. */
  readonly unwritten: { readonly id: number; readonly failure: Failure };
  readonly idle: {
    readonly residentBytes: number;
    readonly peakResidentBytes: number;
    readonly promptCacheBytes: number;
  };
};

/** A message from the child to the engine. */
export type FromChild = Tagged<FromChildRecords>;
