/** The queue as the HTTP edge and the workers see it, and the record of a job that clients read. */
import type { FieldError } from '../base/errors.ts';
import type { TenantId } from '../base/ids.ts';
import type { TraceContext } from '../observability/tracing.ts';
import type { IndexEntry } from './job-index.ts';

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

/** Why a job failed, as a client may see it. */
export type JobFailure = {
  readonly code: string;
  readonly title: string;
  readonly detail: string;
  readonly fields?: readonly FieldError[];
};

/** Where a job came from, for logs and traces alone: no work depends on it. */
export type JobOrigin = {
  /** The HTTP request that it was accepted with. */
  readonly requestId?: string;
  /** The place in a trace that its runs go on from. */
  readonly trace?: TraceContext;
};

/** What the queue itself reads in a payload; the rest is the handler's alone. */
export type JobEnvelope = {
  /** Milliseconds since the epoch. */
  readonly acceptedAt: number;
  /** How long the record is kept after the job's end. */
  readonly retentionSeconds: number;
  /** 0 (background) … 9 (urgent), among the jobs of one tenant. */
  readonly priority: number;
  /** Digest of the request as the client sent it, so that one id or key cannot stand for two requests. */
  readonly fingerprint: string;
  /** The bundle's id, by which lists are filtered. */
  readonly model: string;
};

/** A job as it stands at one moment; `P` is its payload, `R` what its handler hands back. */
export type JobRecord<P extends JobEnvelope = JobEnvelope, R = unknown> = TenantId & {
  readonly status: JobStatus;
  readonly payload: P;
  /** Jobs of the same tenant that will start before it; only while queued. */
  readonly position?: number;
  readonly progress: JobProgress;
  /** Runs begun so far. */
  readonly attempts: number;
  /** Milliseconds since the epoch. */
  readonly startedAt?: number;
  readonly finishedAt?: number;
  readonly result?: R;
  readonly failure?: JobFailure;
  /** For those who go on with its trace; clients are not shown it. */
  readonly origin?: JobOrigin;
};

/** Numbers for readiness, metrics and the depth limit. */
export type QueueCounts = { readonly waiting: number; readonly active: number; readonly delayed: number };

/** A filter and a place to go on from. */
export type JobQuery = {
  readonly status?: JobStatus;
  readonly model?: string;
  /** What the ids begin with. */
  readonly idPrefix?: string;
  /** Opaque, from the page before. */
  readonly cursor?: string;
  readonly limit: number;
};

/** What a tenant may take of the queue; absent: as much as there is. */
export type JobQuota = {
  /** Jobs that may wait. Calls that overlap can exceed it by as many as they are. */
  readonly maxWaiting?: number;
  /** Jobs that may run at once; further ones wait. */
  readonly maxRunning?: number;
};

/** Which changes of a job somebody is told of: its end, or its start and progress too. */
export type Notify = 'ends' | 'progress';

/** What the caller of submit knows of the id and of the tenant. */
export type SubmitOptions = {
  /** The id is new for certain (the service has just drawn it), so nobody needs to look whether it exists. */
  readonly fresh?: boolean;
  readonly quota?: JobQuota;
  /** Somebody is to be told of the job: this is kept with the acceptance, and found by `notices` from `at` on. */
  readonly notify?: { readonly of: Notify; readonly at: number };
  readonly origin?: JobOrigin;
};

/** What a tenant has in the queue now. */
export type QueueUsage = { readonly waiting: number; readonly running: number };

/** Accepts, shows and cancels the jobs of one tenant; those of others do not exist here. */
export type TenantQueue<P extends JobEnvelope = JobEnvelope, R = unknown> = {
  /**
   * Accepts a job durably. With an id that exists, nothing is added: the existing record comes back with
   * `created: false` when its fingerprint is the same, else `job-conflict`. Errors: `queue-full`, `quota-waiting-exceeded`,
   * `queue-unavailable`; after the last one the job may have been accepted all the same, which submitting the same id again
   * tells.
   */
  submit(
    id: string,
    payload: P,
    options?: SubmitOptions,
  ): Promise<{ readonly record: JobRecord<P, R>; readonly created: boolean }>;
  find(id: string): Promise<JobRecord<P, R> | undefined>;
  /**
   * Newest first. A page may be short, even empty, and still have a `nextCursor`: the work of one call is bounded.
   * Errors: `cursor-invalid`.
   */
  list(query: JobQuery): Promise<{ readonly jobs: readonly JobRecord<P, R>[]; readonly nextCursor?: string }>;
  /** Cancels queued or running work on any process. Errors: `job-not-found`, `job-finished`. */
  cancel(id: string): Promise<JobRecord<P, R>>;
  /**
   * The record now, then each time it changes, ending after a final status. Intermediate states may be skipped,
   * the last never. Errors: `job-not-found`; `queue-unavailable` when it cannot be read at first or the queue is closed,
   * while a later outage is waited out; the signal's reason when it aborts.
   */
  watch(id: string, options?: { signal?: AbortSignal }): AsyncIterable<JobRecord<P, R>>;
  usage(): Promise<QueueUsage>;
};

/** Jobs on which something is to follow, a message or a copy: kept with them from acceptance until all of it has come. */
export type JobNotices = {
  /** Those whose time is at or before `now`, the earliest first. */
  due(now: number, limit: number): Promise<readonly IndexEntry[]>;
  /** Comes back to it at `at`. Does nothing once it was dropped. */
  postpone(entry: IndexEntry, at: number): Promise<void>;
  /** All has been told. Idempotent. */
  drop(entry: IndexEntry): Promise<void>;
};

/** One catalogue job's queue, the same over every backend. */
export type JobQueue<P extends JobEnvelope = JobEnvelope, R = unknown> = {
  of(tenant: string): TenantQueue<P, R>;
  counts(): Promise<QueueCounts>;
  /**
   * Removes records whose time is over (`finishedAt` + `retentionSeconds`) and of which nobody is to be told any more,
   * looking at no more than `limit`. `more` tells that there may be others. `beforeRemoval` takes away what belongs to one.
   */
  /** Gives every tenant its turn where a crash has prevented that. */
  mendTurns(): Promise<void>;
  removeExpired(
    now: number,
    limit: number,
    beforeRemoval?: (record: JobRecord<P, R>) => Promise<void>,
  ): Promise<{ readonly removed: number; readonly more: boolean }>;
  readonly notices: JobNotices;
  /** Rejects with `queue-unavailable` when the backend does not answer. */
  ready(): Promise<void>;
  close(): Promise<void>;
};
