/** A payload → a job in the queue → the answer in the form that the client asks for. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import type { Caller } from '../access/caller.ts';
import { ADAPTER_WEIGHTS_FILE } from '../adapter/verify.ts';
import { baseErrors, LoradropError } from '../base/errors.ts';
import type { GeneratePayload } from '../jobs/catalog.ts';
import type { GenerateRecord } from '../jobs/generate-queue.ts';
import { firstLook, hasFollowUp } from '../jobs/notify.ts';
import { inSpan, type Span } from '../observability/tracing.ts';
import { isFinal, type JobQuota, type SubmitOptions } from '../queue/queue.ts';
import { storeErrors } from '../store/errors.ts';
import { awaitJob, connectionSignal } from './await-job.ts';
import { httpErrors } from './errors.ts';
import { adapterUrl, jobUrl } from './links.ts';
import { preferredWaitSeconds } from './prefer.ts';
import { SERVED_FILES } from './present-adapter.ts';
import type { ProblemCode } from './problem.ts';
import { refuseName } from './refuse-name.ts';
import { Job, JobEventView, refTo } from './schemas.ts';
import { ARCHIVE_TYPE, sendAdapterArchive, sendAdapterFile } from './send-adapter.ts';
import { EVENT_STREAM, sendEvents } from './send-events.ts';
import type { HttpServices } from './services.ts';
import { createShowJob } from './show-job.ts';
import type { StoredUsage } from './stored-usage.ts';
import { wants } from './webhook-request.ts';

const JSON_TYPE = 'application/json';
/** Media type of an adapter's weights. */
export const WEIGHTS_TYPE = SERVED_FILES[ADAPTER_WEIGHTS_FILE];
/** Forms of the answer, the default one first. */
export const JOB_FORMS = [JSON_TYPE, EVENT_STREAM, ARCHIVE_TYPE, WEIGHTS_TYPE] as const;
/** One of {@link JOB_FORMS}. */
export type JobForm = (typeof JOB_FORMS)[number];

/** Answers with a job, for the description of a route. */
export const JOB_RESPONSES = {
  200: {
    description: 'The job has ended in time, had ended before, or its events or adapter follow.',
    content: {
      [JSON_TYPE]: { schema: refTo(Job) },
      [EVENT_STREAM]: { schema: refTo(JobEventView) },
      [ARCHIVE_TYPE]: { schema: Type.String({ format: 'binary' }) },
      [WEIGHTS_TYPE]: { schema: Type.String({ format: 'binary' }) },
    },
    headers: {
      location: { type: 'string', description: 'The job.' },
      'preference-applied': { type: 'string', description: '`wait=N` where it was asked for.' },
    },
  },
  202: {
    description: 'The job is accepted.',
    content: { [JSON_TYPE]: { schema: refTo(Job) } },
    headers: { location: { type: 'string', description: 'The job.' } },
  },
} as const;

/** The request headers of routes that accept a job, for their description. */
export const PREFER_HEADER = {
  prefer: Type.Optional(Type.String({ description: '`wait=N`: hold the request for up to N seconds.' })),
};

/** What may be wrong with any request that makes adapters. */
export const JOB_REQUEST_FAILURES: readonly ProblemCode[] = [
  'options-conflict',
  'deadline-too-long',
  'retention-too-long',
  'metadata-too-large',
  'links-unavailable',
  'transform-unfit',
  'name-taken',
  'quota-names-exceeded',
  'webhook-url-invalid',
  'webhook-address-refused',
  'webhook-unresolvable',
  'webhook-events-invalid',
  'webhook-secret-missing',
  'destination-invalid',
  'destination-not-allowed',
  'deploy-target-unknown',
  'deploy-unfit',
  'job-conflict',
  'queue-full',
  'quota-waiting-exceeded',
  'quota-adapters-exceeded',
  'quota-stored-bytes-exceeded',
  'draining',
];
/** Failures of the job itself, where the adapter is the answer. */
export const JOB_FAILURES: readonly ProblemCode[] = [
  'canceled',
  'bundle-changed',
  'prompts-unusable',
  'adapter-not-found',
  'adapter-not-finite',
  'adapter-mismatch',
  'bundle-unloadable',
  'insufficient-memory',
  'inference-failed',
  'job-payload-invalid',
  'engine-lost',
  'engine-closed',
  'workers-lost',
  'device-unavailable',
  'store-full',
  'store-unavailable',
  'deadline-exceeded',
  'job-unfinished',
];

/** Refuses new jobs of an instance that is stopping, ahead of their bodies. Errors: `draining`. */
export function refuseWhenDraining({ draining }: HttpServices, closing: AbortSignal) {
  return async () => {
    if (draining?.aborted || closing.aborted) throw httpErrors.draining('New jobs go to another instance.');
  };
}

/** What is to be accepted, and how it is answered. */
export type Acceptance = {
  readonly id: string;
  /** The id was made here, so that no other job can have it. */
  readonly fresh: boolean;
  readonly form: JobForm;
};

/** Queues a job and answers. Errors: {@link JOB_REQUEST_FAILURES}, and where the adapter is the answer those of its job. */
export type AcceptJob = (
  payload: GeneratePayload,
  acceptance: Acceptance,
  request: FastifyRequest,
  reply: FastifyReply,
) => Promise<FastifyReply>;

/** Queues a job. Errors: {@link JOB_REQUEST_FAILURES}. */
export type SubmitJob = (
  payload: GeneratePayload,
  job: Pick<Acceptance, 'id' | 'fresh'>,
  request: FastifyRequest,
) => Promise<GenerateRecord>;

/** Makes a {@link SubmitJob}. */
export function createSubmitJob(services: HttpServices, stored: StoredUsage): SubmitJob {
  const { metrics } = services;

  /** Refuses a name before anything is queued. A job that there is already has been through this. */
  const refuseSetName = async (name: string, id: string, { tenant }: Caller) => {
    if (name === id) {
      throw httpErrors.nameTaken('The adapter will have this id, and its repository is known under it.', {
        fields: [{ pointer: '/name', message: 'is the id of the adapter' }],
      });
    }
    await refuseName(name, services.store.of(tenant), '/name');
  };

  return async (payload, { id, fresh }, request) => {
    const { caller } = request;
    const queue = services.queue.of(caller.tenant);
    await services.storeReady?.();
    await stored.refuseWhenFull(caller);
    if (payload.setName !== undefined) await refuseSetName(payload.setName, id, caller);
    const submit = (span: Span | undefined) =>
      queue.submit(id, payload, {
        fresh,
        quota: jobQuotaOf(caller),
        ...notifyOf(payload),
        origin: { requestId: request.id, ...(span && { trace: span.context }) },
      });
    const { record, created } = await inSpan(request.seen?.span, 'send generate', submit, {
      kind: 'producer',
      attributes: { 'messaging.operation.type': 'send', 'messaging.destination.name': 'generate' },
    });
    if (request.seen) request.seen.jobId = id;
    if (created) {
      if (wants('job.queued', payload.webhooks)) services.webhooks.notifier.hint(record);
      metrics.accepted.inc({ model: record.payload.model });
      request.log.info(
        {
          jobId: id,
          tenant: caller.tenant,
          model: record.payload.model,
          count: record.payload.adapterIds.length,
        },
        'job accepted',
      );
    }
    return record;
  };
}

/** Makes an {@link AcceptJob}. `closing` ends streams and waits when the application closes. */
export function createAcceptJob(
  services: HttpServices,
  { stored, closing }: { stored: StoredUsage; closing: AbortSignal },
): AcceptJob {
  const { limits } = services;
  const show = createShowJob(services);
  const submitJob = createSubmitJob(services, stored);

  const answerWithJob = async (record: GenerateRecord, request: FastifyRequest, reply: FastifyReply) => {
    const waitSeconds = preferredWaitSeconds(request.headers.prefer, limits.maxWaitSeconds);
    let last = record;
    if (waitSeconds !== undefined) {
      const queue = services.queue.of(request.caller.tenant);
      last = await awaitJob(queue, record, { waitSeconds, signal: connectionSignal(reply, closing) });
      reply.header('preference-applied', `wait=${waitSeconds}`);
    }
    return reply.code(isFinal(last) ? 200 : 202).send(await show(last));
  };

  const answerWithAdapter = async (
    record: GenerateRecord,
    form: typeof ARCHIVE_TYPE | typeof WEIGHTS_TYPE,
    request: FastifyRequest,
    reply: FastifyReply,
  ) => {
    const waitSeconds =
      preferredWaitSeconds(request.headers.prefer, limits.maxWaitSeconds) ?? limits.maxWaitSeconds;
    const { tenant } = request.caller;
    const store = services.store.of(tenant);
    const last = await awaitJob(services.queue.of(tenant), record, {
      waitSeconds,
      signal: connectionSignal(reply, closing),
    });
    if (last.status !== 'succeeded') throw unsuccessful(last);
    const id = last.payload.adapterIds[0]!;
    const adapter = await store.find(id);
    if (!adapter) throw storeErrors.notFound('The job’s adapter is no longer there.');
    reply.header('content-location', adapterUrl(id));
    return form === ARCHIVE_TYPE
      ? sendAdapterArchive(store, adapter, { request, reply })
      : sendAdapterFile(store, adapter, ADAPTER_WEIGHTS_FILE, { request, reply });
  };

  return async (payload, { id, fresh, form }, request, reply) => {
    const queue = services.queue.of(request.caller.tenant);
    const record = await submitJob(payload, { id, fresh }, request);
    reply.header('location', jobUrl(id));
    if (form === EVENT_STREAM) return sendEvents({ ...services, show, queue }, reply, { id, closing });
    if (form === JSON_TYPE) return answerWithJob(record, request, reply);
    return answerWithAdapter(record, form, request, reply);
  };
}

/** What is kept with the acceptance of a job on which something is to follow. */
function notifyOf(payload: GeneratePayload): Pick<SubmitOptions, 'notify'> {
  if (!hasFollowUp(payload)) return {};
  const { webhooks, acceptedAt } = payload;
  const early = wants('job.started', webhooks) || wants('job.progress', webhooks);
  return { notify: { of: early ? 'progress' : 'ends', at: firstLook(acceptedAt) } };
}

/** What the caller's limits are to the queue. */
function jobQuotaOf({ limits: { waitingJobs, runningJobs } }: Caller): JobQuota {
  return {
    ...(waitingJobs !== undefined && { maxWaiting: waitingJobs }),
    ...(runningJobs !== undefined && { maxRunning: runningJobs }),
  };
}

/** Why there is no adapter to answer with. */
function unsuccessful({ status, failure }: GenerateRecord): LoradropError {
  if (status === 'canceled') return baseErrors.canceled('The job was canceled.');
  if (status !== 'failed' || !failure) {
    return httpErrors.jobUnfinished('The job has not ended yet, and goes on.');
  }
  const { code, title, detail, fields = [] } = failure;
  return new LoradropError({ code, title, retryable: false }, detail, { fields });
}
