import { setTimeout as delay } from 'node:timers/promises';
import { toLoradropError } from '../base/errors.ts';
import type { TenantId } from '../base/ids.ts';
import type { Logger } from '../observability/logger.ts';
import type { Metrics } from '../observability/metrics.ts';
import type { Tracing } from '../observability/tracing.ts';
import type { BullQueue, BullWorker, QueueBackend, StoredBullJob } from '../queue/backend.ts';
import { queueErrors } from '../queue/errors.ts';
import { canceledFailure, encodeFailure } from '../queue/job-record.ts';
import { finalFailure, letGo, putOff } from '../queue/run-outcomes.ts';
import { fromQueueId, storeJob } from '../queue/stored-job.ts';
import { createTurns, type Turns } from '../queue/turns.ts';
import { JOB_CATALOG, type JobName, type JobPayload, type JobTiming } from './catalog.ts';
import type { CopyResult } from './copies.ts';
import type { DeliveryResult } from './deliveries.ts';
import type { DeployResult } from './deployment.ts';
import { jobErrors } from './errors.ts';
import type { GenerateResult } from './generate-queue.ts';
import { createRunObserver, type RunObservation } from './observe-runs.ts';
import { readPayload } from './read-payload.ts';
import { LOCK_LOST, PutOff, type RunContext, runJob, WORKER_STOPPING } from './run-job.ts';
import { createStorePause } from './store-pause.ts';
import type { ValidationResult } from './validations.ts';

/** What the clean-up job did. */
export type ExpireResult = { readonly adapters: number; readonly files: number; readonly records: number };

/** How many deployments were run again since model servers were not as they should be. */
export type ReconcileResult = { readonly kicked: number };

/** How many jobs the clock looked at for those who are to be told. */
export type NotifyResult = { readonly looked: number };

/** What a job's handler hands back, by name. */
export type JobOutput<N extends JobName> = {
  generate: GenerateResult;
  webhook: DeliveryResult;
  copy: CopyResult;
  deploy: DeployResult;
  validate: ValidationResult;
  reconcile: ReconcileResult;
  notify: NotifyResult;
  expire: ExpireResult;
}[N];

/** What has happened to a job in this process, of which somebody is to be told. */
export type JobChange = TenantId & {
  readonly name: JobName;
  readonly kind: 'started' | 'progress' | 'ended';
};

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
  /** The same for jobs that need another number. */
  readonly concurrencyOf?: Partial<Record<JobName, number>>;
  /** Hears of jobs that were added with somebody to be told, once the change is stored. */
  readonly onChange?: (change: JobChange) => void;
  readonly logger: Logger;
  readonly metrics?: Pick<Metrics, 'jobStarted' | 'jobFinished' | 'repeated' | 'stalled'>;
  readonly tracing?: Tracing | undefined;
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
  /** Rejects while adapters cannot be stored. */
  readonly storeReady?: () => Promise<void>;
  /** See `StorePauseOptions`. */
  readonly storePauseMs?: number;
  readonly storePatienceMs?: number;
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
/** How long a job waits whose tenant runs as many as it may, unless one of them ends before. */
const HELD_MS = 15_000;
/** Failed runs of clean-up that are kept to look at. */
const MAX_FAILED_BY_CLOCK = 10;

const runIdOf = (name: JobName, queueId: string) => `${name}/${queueId}`;

/** The queue that a job comes from, and its turns where tenants share it. */
type Line = { readonly queue: BullQueue; readonly turns: Turns | undefined };

/**
 * Starts workers for every job of the catalogue, and the clock of those that run by themselves. Errors:
 * `job-handler-missing`, `queue-unavailable`.
 */
export async function createWorkers(options: WorkersOptions): Promise<Workers> {
  const { backend, handlers, concurrency, logger, metrics, tracing, now = Date.now } = options;
  const { lockMs = LOCK_MS, pollCancelMs = POLL_CANCEL_MS, letGoMs = LET_GO_MS } = options;
  const { storeReady, storePauseMs: pauseMs, storePatienceMs: patienceMs } = options;
  const pauseFor = createStorePause({ storeReady, pauseMs, patienceMs, now });
  const { stalledMs = Math.ceil(lockMs * STALLED_SHARE_OF_LOCK), maxStalled = MAX_STALLED } = options;
  const names = Object.keys(JOB_CATALOG) as JobName[];
  const missing = names.filter((name) => typeof handlers[name] !== 'function');
  if (missing.length > 0) throw jobErrors.noHandler(`There is none for ${missing.join(', ')}.`);

  /** Runs under way, by the job's name and BullMQ's id. */
  const runs = new Map<string, AbortController>();
  const workers: BullWorker[] = [];
  const queues: BullQueue[] = [];
  const observer = createRunObserver({ logger, metrics, tracing, now });
  let closing = false;
  let closed: Promise<void> | undefined;

  async function run<N extends JobName>(
    name: N,
    { queue }: Line,
    job: StoredBullJob,
    seen: RunObservation,
  ): Promise<JobOutput<N>> {
    if (job.data.canceled) throw canceledFailure();
    const controller = new AbortController();
    const runId = runIdOf(name, job.id ?? '');
    runs.set(runId, controller);
    try {
      // BullMQ may still hand a job over after it was told to close.
      if (closing) throw WORKER_STOPPING;
      const payload = readPayload(name, job.data.payload);
      const handler = handlers[name] as JobHandler<N>;
      const limits = { pollCancelMs, letGoMs, now };
      return await runJob({
        job,
        payload,
        handler,
        run: controller,
        queue,
        logger: seen.log,
        span: seen.started(payload),
        ...limits,
      });
    } finally {
      runs.delete(runId);
    }
  }

  /** What BullMQ is told of a run: its output, or an error that says whether to try again. */
  async function process(name: JobName, line: Line, job: StoredBullJob, token?: string): Promise<unknown> {
    const { turns } = line;
    const seen = observer.observe(name, job);
    const { log } = seen;
    const inTurn = (step: Promise<void> | undefined) =>
      step?.catch((cause) => log.warn({ err: cause }, 'turns between tenants not kept'));
    if (turns && !(await turns.mayRun(job))) {
      await job.moveToDelayed(now() + HELD_MS, token);
      seen.ended('held');
      throw putOff();
    }
    const started = inTurn(turns?.started(job));
    let again = false;
    try {
      const output = await run(name, line, job, seen);
      seen.ended('succeeded');
      return output;
    } catch (error) {
      if (error instanceof PutOff) {
        // It leaves the line as well.
        if (error.note !== undefined) await job.updateData({ ...job.data, note: JSON.stringify(error.note) });
        await job.moveToDelayed(error.at, token);
        seen.ended('put-off');
        throw putOff();
      }
      again = error === WORKER_STOPPING;
      if (error === WORKER_STOPPING) {
        // If this fails the hold runs out and another worker takes the job a little later.
        await job.moveToWait(token).catch((cause) => log.warn({ err: cause }, 'not handed back'));
        seen.ended('handed-back', error);
        throw letGo();
      }
      if (error === LOCK_LOST) {
        seen.ended('lost', error);
        throw letGo();
      }
      const failure = toLoradropError(error);
      const pauseMs = await pauseFor(name, job, failure);
      if (pauseMs !== undefined) {
        // It waits for the store and for no turn. In the line it would be called at once, however long it is put off.
        await job
          .moveToDelayed(now() + pauseMs, token)
          .catch((cause) => log.warn({ err: cause }, 'not put off'));
        seen.ended('held', failure);
        throw putOff();
      }
      again = failure.retryable && job.attemptsMade + 1 < (job.opts.attempts ?? 1);
      const outcome = failure.code === canceledFailure().code ? 'canceled' : again ? 'retried' : 'failed';
      seen.ended(outcome, failure);
      const reason = encodeFailure(failure);
      throw again ? new Error(reason) : finalFailure(reason);
    } finally {
      await started;
      await inTurn(turns?.ended(job, { again }));
    }
  }

  async function start(name: JobName): Promise<void> {
    const { everyMs, attempts, turns: inTurns }: JobTiming = JOB_CATALOG[name].timing;
    const queue = backend.queue(name);
    queues.push(queue);
    const turns = inTurns ? createTurns(queue, backend.index(name), now) : undefined;
    const line: Line = { queue, turns };
    const worker = backend.worker(name, (job, token) => process(name, line, job, token), {
      concurrency: everyMs === undefined ? (options.concurrencyOf?.[name] ?? concurrency) : 1,
      lockMs,
      stalledMs,
      maxStalled,
    });
    workers.push(worker);
    worker.on('stalled', (queueId) => observer.stalled(name, queueId));
    worker.on('lockRenewalFailed', (queueIds) => {
      for (const queueId of queueIds) runs.get(runIdOf(name, queueId))?.abort(LOCK_LOST);
    });
    const tell = (kind: JobChange['kind'], job: StoredBullJob | undefined) => {
      const { notify } = job?.data ?? {};
      if (!job || !notify || (kind !== 'ended' && notify !== 'progress')) return;
      options.onChange?.({ name, kind, ...fromQueueId(job.id ?? '') });
    };
    worker.on('active', (job) => tell('started', job));
    worker.on('progress', (job) => tell('progress', job));
    worker.on('completed', (job) => tell('ended', job));
    // Also after a run that is tried again, which whoever hears of it sees from the record.
    worker.on('failed', (job) => {
      if (job) observer.failed(name, job);
      tell('ended', job);
    });
    await worker.waitUntilReady();
    worker.run().catch((error: Error) => void worker.emit('error', error));
    if (everyMs !== undefined) {
      await queue.upsertJobScheduler(
        'clock',
        { every: everyMs },
        {
          name,
          data: storeJob({}),
          opts: { attempts, removeOnComplete: true, removeOnFail: MAX_FAILED_BY_CLOCK, stackTraceLimit: 0 },
        },
      );
    }
  }

  async function stop(drainMs: number): Promise<void> {
    closing = true;
    const handBack = () => {
      for (const controller of runs.values()) controller.abort(WORKER_STOPPING);
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
