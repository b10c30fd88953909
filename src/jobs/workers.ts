import { setTimeout as delay } from 'node:timers/promises';
import { UnrecoverableError, WaitingError } from 'bullmq';
import { toLoradropError } from '../base/errors.ts';
import type { Logger } from '../observability/logger.ts';
import type { Metrics } from '../observability/metrics.ts';
import type { BullQueue, BullWorker, QueueBackend, StoredBullJob } from '../queue/backend.ts';
import { queueErrors } from '../queue/errors.ts';
import { canceledFailure, encodeFailure } from '../queue/job-record.ts';
import type { JobResult } from '../queue/queue.ts';
import { fromQueueId, readPayload, storeJob } from '../queue/stored-job.ts';
import { JOB_CATALOG, type JobName, type JobPayload, type JobTiming } from './catalog.ts';
import { jobErrors } from './errors.ts';
import { HAND_BACK, LOST, type RunContext, runJob } from './run-job.ts';

/** What the clean-up job did. */
export type ExpireResult = { readonly adapters: number; readonly records: number };

/** What a job's handler hands back, by name. */
export type JobOutput<N extends JobName> = { generate: JobResult; expire: ExpireResult }[N];

/** What a handler knows of the run it carries out, by the job's name. */
export type JobContext<N extends JobName> = RunContext<JobPayload<N>>;

/** Carries out one run of a job. It must be safe to repeat: a job is run at least once. */
export type JobHandler<N extends JobName> = (context: JobContext<N>) => Promise<JobOutput<N>>;

/** A handler for every job of the catalogue. */
export type JobHandlers = { readonly [N in JobName]: JobHandler<N> };

/** Options of {@link createWorkers}. */
export type WorkersOptions = {
  readonly backend: QueueBackend;
  readonly handlers: JobHandlers;
  /** Jobs of one name at once. A job that runs by the clock runs once at a time all the same. */
  readonly concurrency: number;
  readonly logger: Logger;
  readonly metrics?: Pick<Metrics, 'finished'>;
  /** A worker that has not renewed its hold for this long is taken for dead. */
  readonly lockMs?: number;
  /** How often dead workers are looked for. With `lockMs` it bounds the time until a killed worker's job runs again. */
  readonly stalledMs?: number;
  /** How often a running job's record is read to see whether it was canceled. */
  readonly pollCancelMs?: number;
  /** How long a handler may take to end after its signal has aborted before the worker goes on without it. */
  readonly letGoMs?: number;
  /** Times a job may lose its worker before it fails as `workers-lost`. */
  readonly maxStalled?: number;
  readonly now?: () => number;
};

/** The workers of this process. */
export type Workers = {
  /**
   * Takes no more jobs, gives running ones `drainMs` to end, then aborts them and puts them back at the front of the
   * queue, without costing them an attempt. Idempotent.
   */
  close(options: { drainMs: number }): Promise<void>;
};

const LOCK_MS = 15_000;
/** A killed worker's job runs again after at most one lock and one look: 20 s by default. */
const STALLED_SHARE_OF_LOCK = 1 / 3;
const POLL_CANCEL_MS = 400;
/** The engine kills work that does not stop within seconds; what takes longer than this is stuck. */
const LET_GO_MS = 10_000;
/**
 * One loss says little: workers are killed by deployments, by machines and by memory that others took. A job that has
 * seen ten of them end is most likely the cause.
 */
const MAX_STALLED = 10;
/** Failed runs of clean-up that are kept to look at. */
const MAX_FAILED_BY_CLOCK = 10;

/** How a run ended, for logs and metrics. */
type Outcome = 'succeeded' | 'failed' | 'retried' | 'canceled' | 'handed-back' | 'lost';

/**
 * Starts workers for every job of the catalogue, and the clock of those that run by themselves. Errors:
 * `job-handler-missing`, `queue-unavailable`.
 */
export async function createWorkers(options: WorkersOptions): Promise<Workers> {
  const { backend, handlers, concurrency, logger, metrics, now = Date.now } = options;
  const { lockMs = LOCK_MS, pollCancelMs = POLL_CANCEL_MS, letGoMs = LET_GO_MS } = options;
  const { stalledMs = Math.ceil(lockMs * STALLED_SHARE_OF_LOCK), maxStalled = MAX_STALLED } = options;
  const names = Object.keys(JOB_CATALOG) as JobName[];
  const missing = names.filter((name) => typeof handlers[name] !== 'function');
  if (missing.length > 0) throw jobErrors.noHandler(`There is none for ${missing.join(', ')}.`);

  /** Runs under way, by BullMQ's id of the job. */
  const runs = new Map<string, AbortController>();
  const workers: BullWorker[] = [];
  const queues: BullQueue[] = [];
  let closing = false;
  let closed: Promise<void> | undefined;

  async function run<N extends JobName>(
    name: N,
    queue: BullQueue,
    job: StoredBullJob,
  ): Promise<JobOutput<N>> {
    if (job.data.canceled) throw canceledFailure();
    const controller = new AbortController();
    const queueId = job.id ?? '';
    runs.set(queueId, controller);
    try {
      // BullMQ may still hand a job over after it was told to close.
      if (closing) throw HAND_BACK;
      const payload = readPayload(name, job.data);
      const handler = handlers[name] as JobHandler<N>;
      const limits = { pollCancelMs, letGoMs, now };
      return await runJob({
        job,
        payload,
        handler,
        run: controller,
        queue,
        logger: logOf(name, job),
        ...limits,
      });
    } finally {
      runs.delete(queueId);
    }
  }

  const logOf = (name: JobName, job: StoredBullJob) =>
    logger.child({ job: name, jobId: fromQueueId(job.id ?? ''), run: job.attemptsStarted });

  function note(name: JobName, job: StoredBullJob, outcome: Outcome, error?: unknown): void {
    const code =
      error === undefined || error === HAND_BACK || error === LOST ? '' : toLoradropError(error).code;
    const log = logOf(name, job);
    if (outcome === 'failed' || outcome === 'retried') log.warn({ outcome, code, err: error }, 'run failed');
    else log.info({ outcome }, 'run ended');
    if (name === 'generate') {
      const { model } = JSON.parse(job.data.payload) as JobPayload<'generate'>;
      metrics?.finished.inc({ model, outcome, code });
    }
  }

  /** What BullMQ is told of a run: its output, or an error that says whether to try again. */
  async function process(
    name: JobName,
    queue: BullQueue,
    job: StoredBullJob,
    token?: string,
  ): Promise<unknown> {
    try {
      const output = await run(name, queue, job);
      note(name, job, 'succeeded');
      return output;
    } catch (error) {
      if (error === HAND_BACK) {
        // If this fails the hold runs out and another worker takes the job a little later.
        await job
          .moveToWait(token)
          .catch((cause) => logOf(name, job).warn({ err: cause }, 'not handed back'));
        note(name, job, 'handed-back', error);
        throw new WaitingError();
      }
      if (error === LOST) {
        note(name, job, 'lost', error);
        throw new WaitingError();
      }
      const failure = toLoradropError(error);
      const again = failure.retryable && job.attemptsMade + 1 < (job.opts.attempts ?? 1);
      const outcome = failure.code === canceledFailure().code ? 'canceled' : again ? 'retried' : 'failed';
      note(name, job, outcome, failure);
      const reason = encodeFailure(failure);
      throw again ? new Error(reason) : new UnrecoverableError(reason);
    }
  }

  async function start(name: JobName): Promise<void> {
    const { everyMs, attempts }: JobTiming = JOB_CATALOG[name].timing;
    const queue = backend.queue(name);
    queues.push(queue);
    const worker = backend.worker(name, (job, token) => process(name, queue, job, token), {
      concurrency: everyMs === undefined ? concurrency : 1,
      lockMs,
      stalledMs,
      maxStalled,
    });
    workers.push(worker);
    worker.on('stalled', (queueId) => {
      logger.warn({ job: name, jobId: fromQueueId(queueId) }, 'a job lost its worker and waits again');
    });
    worker.on('lockRenewalFailed', (queueIds) => {
      for (const queueId of queueIds) runs.get(queueId)?.abort(LOST);
    });
    await worker.waitUntilReady();
    if (everyMs !== undefined) {
      await queue.upsertJobScheduler(
        'clock',
        { every: everyMs },
        {
          name,
          data: storeJob<JobName>({} as JobPayload<JobName>),
          opts: { attempts, removeOnComplete: true, removeOnFail: MAX_FAILED_BY_CLOCK, stackTraceLimit: 0 },
        },
      );
    }
  }

  async function stop(drainMs: number): Promise<void> {
    closing = true;
    const handBack = () => {
      for (const controller of runs.values()) controller.abort(HAND_BACK);
    };
    // BullMQ's orderly end waits for a connection that is down, so there it is not tried: the holds run out by themselves.
    const reachable = await backend.ready().then(
      () => true,
      () => false,
    );
    const timer = setTimeout(handBack, reachable ? drainMs : 0);
    const patience = new AbortController();
    const outcome = await Promise.race([
      Promise.all(workers.map((worker) => worker.close(!reachable))).then(() => 'closed'),
      delay(drainMs + letGoMs + backend.answerTimeoutMs, 'stuck', { signal: patience.signal }).catch(
        () => 'closed',
      ),
    ]);
    clearTimeout(timer);
    patience.abort();
    handBack();
    if (outcome === 'stuck' || !reachable)
      logger.warn('the queue does not answer; running jobs will be done again');
    await Promise.all(queues.map((queue) => queue.close()));
  }

  const close = ({ drainMs }: { drainMs: number }) => (closed ??= stop(drainMs));
  try {
    await Promise.all(names.map(start));
  } catch (error) {
    await close({ drainMs: 0 });
    throw queueErrors.unavailable('The workers could not start.', { cause: error });
  }
  return { close };
}
