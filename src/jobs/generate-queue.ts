/** The queue of generation jobs: what a job hands back, and the queue with its types filled in. */
import { createJobQueue, type JobQueueOptions } from '../queue/job-queue.ts';
import type { JobQueue, JobRecord, TenantQueue } from '../queue/queue.ts';
import { type GeneratePayload, JOB_CATALOG } from './catalog.ts';

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

/** What a worker hands back when a generation is done. */
export type GenerateResult = {
  readonly adapters: readonly JobAdapter[];
  readonly timings: JobTimings;
  readonly device: string;
  readonly promptsEncoded: number;
  readonly promptsCached: number;
};

/** A generation job as it stands at one moment. */
export type GenerateRecord = JobRecord<GeneratePayload, GenerateResult>;
/** Generation jobs of every tenant. */
export type GenerateQueue = JobQueue<GeneratePayload, GenerateResult>;
/** Generation jobs of one tenant. */
export type TenantGenerateQueue = TenantQueue<GeneratePayload, GenerateResult>;

/** Opens the queue of generation jobs. Errors: `queue-unavailable`. */
export function openGenerateQueue(
  options: Pick<JobQueueOptions, 'backend' | 'maxWaiting' | 'logger' | 'now'>,
): Promise<GenerateQueue> {
  return createJobQueue({ name: 'generate', ...JOB_CATALOG.generate.timing, ...options });
}
