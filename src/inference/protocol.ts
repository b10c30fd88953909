/** What the engine and its child process tell each other (structured clone, one ordered channel each way). */
import type { Sha256 } from '../base/digest.ts';
import type { Bundle } from '../models/bundle.ts';
import type { Fallback, WantedDevice } from './device.ts';
import type { Device, InferenceProgress, TokenBlock } from './engine.ts';

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

/** Engine → child. `open` comes first and once; then one `load` or `batch` at a time. Each of the three ends with `idle`. */
export type ToChild =
  | {
      readonly type: 'open';
      readonly device: WantedDevice;
      readonly threads: number;
      readonly encodeTokenBudget: number;
      readonly promptCacheBytes: number;
      /** Bytes the process may take; 0: what there is. */
      readonly memoryLimitBytes: number;
    }
  | { readonly type: 'load'; readonly bundle: Bundle }
  | { readonly type: 'batch'; readonly digest: Sha256; readonly requests: readonly BatchRequest[] }
  /** Stop this request at the next opportunity; answered by `stopped` when it had not ended already. */
  | { readonly type: 'cancel'; readonly id: number }
  /** The reader has room for that many more `tokens` messages of this request. */
  | { readonly type: 'pull'; readonly id: number; readonly chunks: number }
  /** Nobody reads this request's tokens any more. */
  | { readonly type: 'release'; readonly id: number };

/** Child → engine. */
export type FromChild =
  | { readonly type: 'opened'; readonly device: Device; readonly fallback?: Fallback }
  /** The device does not work; the child ends. */
  | { readonly type: 'refused'; readonly failure: Failure }
  | {
      readonly type: 'loaded';
      readonly digest: Sha256;
      readonly loadMs: number;
      /** Graphs of one decode. */
      readonly stages: number;
      /** Whether encoder runs are filled up to one shape (see encoder.ts). */
      readonly fixedShape: boolean;
    }
  | { readonly type: 'unloadable'; readonly digest: Sha256; readonly failure: Failure }
  /** What the child works on from now until the next such message: one request, or the embedding of the whole batch. */
  | { readonly type: 'working'; readonly on: number | 'batch' }
  /** Progress of one request, or of all that are still in the batch. */
  | { readonly type: 'progress'; readonly of: number | 'batch'; readonly progress: InferenceProgress }
  | {
      readonly type: 'decoded';
      readonly id: number;
      readonly embeddingMs: number;
      readonly decodingMs: number;
      readonly promptsCached: number;
      readonly promptsEncoded: number;
    }
  | { readonly type: 'stopped'; readonly id: number }
  | { readonly type: 'failed'; readonly id: number; readonly failure: Failure }
  /** The next floats of a request's blocks, all blocks one after the other. */
  | { readonly type: 'tokens'; readonly id: number; readonly values: Float32Array }
  | {
      readonly type: 'idle';
      readonly residentBytes: number;
      readonly peakResidentBytes: number;
      readonly promptCacheBytes: number;
    };
