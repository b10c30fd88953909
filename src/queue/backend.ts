import type { IQueueBackend, Job, JobProgress, Processor, Queue, QueueEvents, Worker } from 'bullmq';
import type { JobIndex } from './job-index.ts';
import type { RequestRates } from './request-rates.ts';
import type { StoredJob } from './stored-job.ts';

/** A BullMQ job of ours, on any backend. */
export type StoredBullJob = Job<StoredJob>;
/** A BullMQ queue of ours, on any backend. */
export type BullQueue = Queue<StoredJob, unknown, string, StoredJob, unknown, string, IQueueBackend, unknown>;
/** A BullMQ worker of ours, on any backend. */
export type BullWorker = Worker<StoredJob, unknown, string, IQueueBackend, JobProgress, unknown>;
/** BullMQ's event stream of a queue, on any backend. */
export type BullEvents = QueueEvents<unknown, IQueueBackend, unknown>;

/** How a worker takes jobs and keeps its hold on them. */
export type BullWorkerOptions = {
  readonly concurrency: number;
  /** A hold that is not renewed for this long is lost. */
  readonly lockMs: number;
  /** How often lost holds are looked for. */
  readonly stalledMs: number;
  /** Times a job may lose its worker before it fails. */
  readonly maxStalled: number;
};

/**
 * Where the queue lives: makes BullMQ's objects with the right connection. Whoever asks for an object closes it, before
 * the backend is closed.
 */
export type QueueBackend = {
  /** For logs, metrics and readiness. */
  readonly kind: 'embedded' | 'redis' | 'postgres';
  /** Longest a call may take before the queue counts as down. */
  readonly answerTimeoutMs: number;
  /** By the catalogue's name of a job. For producers: fails at once while the connection is down. */
  queue(name: string): BullQueue;
  /**
   * For consumers: waits for the connection to come back. It takes jobs once it is told to `run`, which is to be after
   * `waitUntilReady`: one on PostgreSQL whose first connection fails would ask for jobs for ever without a pause in between,
   * in which nothing else in the process is heard.
   */
  worker(name: string, processor: Processor<StoredJob>, options: BullWorkerOptions): BullWorker;
  events(name: string): BullEvents;
  index(name: string): JobIndex;
  /** Replaces the data of a job that has not ended, in one step; false, and nothing is done, when it has ended or is gone. */
  replaceDataUnlessEnded(queue: BullQueue, queueId: string, data: StoredJob): Promise<boolean>;
  /** Counts requests for all processes that share the backend. */
  readonly rates: RequestRates;
  /** Rejects with `queue-unavailable` when the backend does not answer. */
  ready(): Promise<void>;
  close(): Promise<void>;
};
