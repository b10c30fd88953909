/** The generation queue as the HTTP edge and the workers see it, and the record of a job that clients read. */
import type { FieldError } from '../base/errors.ts';
import type { GeneratePayload } from '../jobs/catalog.ts';

/** Where a job stands. `canceled` holds from the moment of cancellation, even while a worker still lets go. */
export const JOB_STATUSES = ['queued', 'processing', 'succeeded', 'failed', 'canceled'] as const;
export type JobStatus = (typeof JOB_STATUSES)[number];

/** True when the job will not change any more. */
export function isFinal({ status }: { readonly status: JobStatus }): boolean {
  return status === 'succeeded' || status === 'failed' || status === 'canceled';
}

/** What a worker is doing with a job. */
export const JOB_STAGES = ['queued', 'loading', 'embedding', 'decoding', 'writing', 'done'] as const;
export type JobStage = (typeof JOB_STAGES)[number];

/** Progress as a worker reports it; `sequence` rises with every report, over retries too. */
export type JobProgress = {
  readonly sequence: number;
  readonly stage: JobStage;
  /** Share of the whole job that is done, 0…1; never falls within one run. */
  readonly fraction: number;
  /** 0-based number of the adapter being made. */
  readonly adapter: number;
};

/** Milliseconds by stage, summed over the adapters of the job. `queuedMs` counts from acceptance to the last start. */
export type JobTimings = {
  readonly queuedMs: number;
  readonly loadingMs: number;
  readonly batchingMs: number;
  readonly embeddingMs: number;
  readonly decodingMs: number;
  readonly writingMs: number;
  readonly totalMs: number;
};

/** A finished adapter of a job. */
export type JobAdapter = {
  readonly id: string;
  readonly bytes: number;
  readonly sha256: string;
  readonly tensors: number;
  readonly parameters: number;
  /** SHA-256 of each chosen prompt, in condition order. */
  readonly promptDigests: readonly string[];
  /** True when an equal adapter was in the store and the decoder did not run. */
  readonly fromStore: boolean;
};

/** What a worker hands back when a job is done. */
export type JobResult = {
  readonly adapters: readonly JobAdapter[];
  readonly timings: JobTimings;
  readonly device: string;
  readonly promptsEncoded: number;
  readonly promptsCached: number;
};

/** Why a job failed, as a client may see it. */
export type JobFailure = {
  readonly code: string;
  readonly title: string;
  readonly detail: string;
  readonly fields?: readonly FieldError[];
};

/** A job as it stands at one moment. */
export type JobRecord = {
  readonly id: string;
  readonly status: JobStatus;
  readonly payload: GeneratePayload;
  /** Jobs that will start before it; only while queued. */
  readonly position?: number;
  readonly progress: JobProgress;
  /** Runs begun so far. */
  readonly attempts: number;
  /** Milliseconds since the epoch. */
  readonly startedAt?: number;
  readonly finishedAt?: number;
  readonly result?: JobResult;
  readonly failure?: JobFailure;
};

/** Numbers for readiness, metrics and the depth limit. */
export type QueueCounts = { readonly waiting: number; readonly active: number; readonly delayed: number };

/** A filter and a place to go on from. */
export type JobQuery = {
  readonly status?: JobStatus;
  readonly model?: string;
  /** Opaque, from the page before. */
  readonly cursor?: string;
  readonly limit: number;
};

/** What the caller of submit knows of the id. */
export type SubmitOptions = {
  /** The id is new for certain (the service has just drawn it), so nobody needs to look whether it exists. */
  readonly fresh?: boolean;
};

/** Accepts, shows and cancels generation jobs, the same over every backend. */
export type GenerateQueue = {
  /**
   * Accepts a job durably. With an id that exists, nothing is added: the existing record comes back with
   * `created: false` when its fingerprint is the same, else `job-conflict`. Errors: `queue-full`, `queue-unavailable`;
   * after the latter the job may have been accepted all the same, which submitting the same id again tells.
   */
  submit(
    id: string,
    payload: GeneratePayload,
    options?: SubmitOptions,
  ): Promise<{ readonly record: JobRecord; readonly created: boolean }>;
  find(id: string): Promise<JobRecord | undefined>;
  /**
   * Newest first. A page may be short, even empty, and still have a `nextCursor`: the work of one call is bounded.
   * Errors: `cursor-invalid`.
   */
  list(query: JobQuery): Promise<{ readonly jobs: readonly JobRecord[]; readonly nextCursor?: string }>;
  /** Cancels queued or running work on any process. Errors: `job-not-found`, `job-finished`. */
  cancel(id: string): Promise<JobRecord>;
  /**
   * The record now, then each time it changes, ending after a final status. Intermediate states may be skipped,
   * the last never. Errors: `job-not-found`; `queue-unavailable` when it cannot be read at first or the queue is closed,
   * while a later outage is waited out; the signal's reason when it aborts.
   */
  watch(id: string, options?: { signal?: AbortSignal }): AsyncIterable<JobRecord>;
  counts(): Promise<QueueCounts>;
  /**
   * Removes records whose time is over (`finishedAt` + `retentionSeconds`), looking at no more than `limit`. `more` tells
   * that there may be others.
   */
  removeExpired(now: number, limit: number): Promise<{ readonly removed: number; readonly more: boolean }>;
  /** Rejects with `queue-unavailable` when the backend does not answer. */
  ready(): Promise<void>;
  close(): Promise<void>;
};
