/** What is seen of the runs of jobs: lines in the log, metrics and spans, each in one place. */
import { toLoradropError } from '../base/errors.ts';
import type { TenantId } from '../base/ids.ts';
import type { Logger } from '../observability/logger.ts';
import type { JobOutcome, Metrics } from '../observability/metrics.ts';
import { type Span, type Tracing, traceIdOf } from '../observability/tracing.ts';
import type { StoredBullJob } from '../queue/backend.ts';
import { queueErrors } from '../queue/errors.ts';
import { hasLostItsWorkers, readProgress } from '../queue/job-record.ts';
import type { JobOrigin } from '../queue/queue.ts';
import { fromQueueId } from '../queue/stored-job.ts';
import type { JobName, JobPayload } from './catalog.ts';
import { jobOfDelivery } from './deliveries.ts';
import { LOCK_LOST, WORKER_STOPPING } from './run-job.ts';

/** How a run ended. After the first three the job is over, after the others it runs again. */
export type RunOutcome =
  | 'succeeded'
  | 'failed'
  | 'canceled'
  | 'retried'
  | 'handed-back'
  | 'lost'
  | 'held'
  | 'put-off';

/** One run of a job under observation. */
export type RunObservation = {
  /** Names the job in every line. */
  readonly log: Logger;
  /** The run begins with this payload; answers its span where traces are kept. */
  started(payload: JobPayload<JobName>): Span | undefined;
  ended(outcome: RunOutcome, error?: unknown): void;
};

/** Sees what happens to jobs. */
export type RunObserver = {
  observe(name: JobName, job: StoredBullJob): RunObservation;
  /** A job lost its worker. */
  stalled(name: JobName, queueId: string): void;
  /** BullMQ says that a job has failed, which this tells only where no run of ours did. */
  failed(name: JobName, job: StoredBullJob): void;
};

/** What runs are observed with. */
export type RunObserverOptions = {
  readonly logger: Logger;
  readonly metrics?: Pick<Metrics, 'jobStarted' | 'jobFinished' | 'repeated' | 'stalled'> | undefined;
  readonly tracing?: Tracing | undefined;
  readonly now: () => number;
};

/** What is shown of a generation job. */
type Facts = Pick<JobPayload<'generate'>, 'model' | 'acceptedAt' | 'adapterIds'>;

/** The fields by which lines about a job are found, the same in every process. */
export function jobFields(
  job: TenantId & { readonly origin?: JobOrigin | undefined },
): Record<string, string> {
  const { tenant, id, origin } = job;
  return {
    tenant,
    jobId: id,
    ...(origin?.requestId !== undefined && { requestId: origin.requestId }),
    ...(origin?.trace && { traceId: traceIdOf(origin.trace) }),
  };
}

/** Makes a {@link RunObserver}. */
export function createRunObserver({ logger, metrics, tracing, now }: RunObserverOptions): RunObserver {
  const logOf = (name: JobName, job: StoredBullJob) =>
    logger.child({
      job: name,
      ...jobFields({ ...nameOf(name, job.id ?? ''), origin: job.data.origin }),
      run: job.attemptsStarted,
    });

  function finished(job: StoredBullJob, facts: Facts, outcome: JobOutcome, code: string): void {
    const { model, acceptedAt } = facts;
    const { tenant } = fromQueueId(job.id ?? '');
    metrics?.jobFinished({ tenant, model, outcome, code, ms: now() - acceptedAt });
  }

  function begin(
    job: StoredBullJob,
    { model, acceptedAt, adapterIds }: Facts,
    log: Logger,
  ): Span | undefined {
    const { tenant, id } = fromQueueId(job.id ?? '');
    const parent = job.data.origin?.trace;
    const waitedMs = now() - acceptedAt;
    // A run that has done something has reported it.
    const first = readProgress(job).sequence === 0;
    if (first) {
      metrics?.jobStarted({ model, held: job.attemptsStarted > 1, waitMs: waitedMs });
      tracing?.start('wait in queue', { parent, startedAt: acceptedAt }).end();
    }
    log.info({ model, count: adapterIds.length, ...(first && { waitedMs }) }, 'job started');
    return tracing?.start('process generate', {
      parent,
      kind: 'consumer',
      attributes: {
        'messaging.operation.type': 'process',
        'messaging.destination.name': 'generate',
        'loradrop.tenant': tenant,
        'loradrop.job.id': id,
        'loradrop.job.run': job.attemptsStarted,
        'loradrop.model': model,
      },
    });
  }

  function observe(name: JobName, job: StoredBullJob): RunObservation {
    const log = logOf(name, job);
    let span: Span | undefined;
    let facts: Facts | undefined;
    return {
      log,
      started(payload) {
        if (!isGenerate(name, payload)) return undefined;
        facts = payload;
        span = begin(job, payload, log);
        return span;
      },
      ended(outcome, error) {
        const own = error === undefined || error === WORKER_STOPPING || error === LOCK_LOST;
        const code = own ? '' : toLoradropError(error).code;
        const line = { outcome, ...(code !== '' && { code }) };
        const over = outcome === 'succeeded' || outcome === 'failed' || outcome === 'canceled';
        const message = over ? 'job ended' : 'job will run again';
        if (outcome === 'failed' || outcome === 'retried') log.warn({ ...line, err: error }, message);
        // A tenant at its bound has its jobs looked at again and again.
        else if (name !== 'generate' || (outcome === 'held' && own)) log.debug(line, message);
        else log.info(line, message);
        span?.set({ 'loradrop.outcome': outcome });
        if (outcome === 'failed' || outcome === 'retried') span?.fail(error);
        span?.end();
        if (name !== 'generate') return;
        facts ??= factsOf(job);
        if (over) finished(job, facts, outcome, code);
        else metrics?.repeated.inc({ model: facts.model, outcome, code });
      },
    };
  }

  return {
    observe,
    stalled(name, queueId) {
      metrics?.stalled.inc({ queue: name });
      logger.warn(
        { job: name, ...jobFields(nameOf(name, queueId)) },
        'a job lost its worker and waits again',
      );
    },
    failed(name, job) {
      if (!hasLostItsWorkers(job)) return;
      const { code } = queueErrors.workersLost.spec;
      logOf(name, job).warn({ outcome: 'failed', code }, 'job ended');
      if (name === 'generate') finished(job, factsOf(job), 'failed', code);
    },
  };
}

/** The generation job that a job is, or is about. */
function nameOf(name: JobName, queueId: string): TenantId {
  const { tenant, id } = fromQueueId(queueId);
  return { tenant, id: name === 'webhook' ? jobOfDelivery(id) : id };
}

/** The payload, unchecked: also of a job that this version refuses to run. It may be large, so it is parsed only where it was not. */
function factsOf(job: StoredBullJob): Facts {
  return JSON.parse(job.data.payload) as JobPayload<'generate'>;
}

function isGenerate(name: JobName, _payload: JobPayload<JobName>): _payload is JobPayload<'generate'> {
  return name === 'generate';
}
