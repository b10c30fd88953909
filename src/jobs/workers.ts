import type { JobName, JobPayload } from './catalog.ts';
import type { JobProgress, JobResult } from './queue.ts';

/** What the clean-up job did. */
export type ExpireResult = { readonly adapters: number; readonly records: number };

/** What a job's handler hands back, by name. */
export type JobOutput<N extends JobName> = { generate: JobResult; expire: ExpireResult }[N];

/** What a handler knows of the run it carries out. */
export type JobContext<N extends JobName> = {
  readonly id: string;
  readonly payload: JobPayload<N>;
  /** 1 for the first run of the job. */
  readonly attempt: number;
  /** Aborts when the job is canceled, its deadline passes, the worker stops or the job was given to another worker. */
  readonly signal: AbortSignal;
  /** Shows how far the run is. Cheap to call often: the latest report within a short while is the one that is kept. */
  report(progress: Omit<JobProgress, 'sequence'>): void;
};

/** Carries out one run of a job. It must be safe to repeat: a job is run at least once. */
export type JobHandler<N extends JobName> = (context: JobContext<N>) => Promise<JobOutput<N>>;

/** A handler for every job of the catalogue. */
export type JobHandlers = { readonly [N in JobName]: JobHandler<N> };
