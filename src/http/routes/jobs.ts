/** `/jobs`: listing, following and canceling. */
import { Type } from 'typebox';
import type { Caller } from '../../access/caller.ts';
import { hasFollowUp } from '../../jobs/notify.ts';
import { queueErrors } from '../../queue/errors.ts';
import { isFinal } from '../../queue/queue.ts';
import { eventIdOf, parseLastEventId } from '../job-events.ts';
import { ACCESS_FAILURES, problemResponses, QUEUE_FAILURES } from '../problem-responses.ts';
import { IdParams, Job, JobEventView, JobList, JobListQuery, refTo } from '../schemas.ts';
import { EVENT_STREAM, sendEvents } from '../send-events.ts';
import type { App, HttpServices } from '../services.ts';
import { createShowJob } from '../show-job.ts';

/** Jobs on a page where the client names no limit. */
const DEFAULT_PAGE = 20;
const JSON_ONLY = ['application/json'] as const;

/** Registers the routes. `closing` ends streams when the application closes. */
export function registerJobs(app: App, services: HttpServices, closing: AbortSignal): void {
  const { webhooks } = services;
  const show = createShowJob(services);
  const queueOf = ({ tenant }: Caller) => services.queue.of(tenant);
  const find = async (id: string, caller: Caller) => {
    const record = await queueOf(caller).find(id);
    if (!record) throw queueErrors.notFound('No job has this id.');
    return record;
  };

  app.get(
    '/jobs',
    {
      config: { produces: JSON_ONLY, access: 'read' },
      schema: {
        tags: ['jobs'],
        operationId: 'listJobs',
        summary: 'List jobs, newest first',
        querystring: JobListQuery,
        response: {
          200: refTo(JobList),
          ...problemResponses(...ACCESS_FAILURES, ...QUEUE_FAILURES, 'field-unknown', 'cursor-invalid'),
        },
      },
    },
    async ({ query, caller }) => {
      const page = await queueOf(caller).list({ ...query, limit: query.limit ?? DEFAULT_PAGE });
      return {
        jobs: await Promise.all(page.jobs.map((record) => show(record, { listed: true }))),
        ...(page.nextCursor !== undefined && { nextCursor: page.nextCursor }),
      };
    },
  );

  app.get(
    '/jobs/:id',
    {
      config: { produces: JSON_ONLY, access: 'read' },
      schema: {
        tags: ['jobs'],
        operationId: 'getJob',
        summary: 'A job as it stands',
        params: IdParams,
        response: {
          200: refTo(Job),
          ...problemResponses(...ACCESS_FAILURES, ...QUEUE_FAILURES, 'id-invalid', 'job-not-found'),
        },
      },
    },
    async ({ params, caller }) => show(await find(params.id, caller)),
  );

  app.get(
    '/jobs/:id/events',
    {
      config: { produces: [EVENT_STREAM], access: 'read' },
      exposeHeadRoute: false,
      schema: {
        tags: ['jobs'],
        operationId: 'followJob',
        summary: 'A job’s progress as server-sent events',
        description:
          '`progress` events with a JobProgress each, then one event named `succeeded`, `failed` or `canceled` with the Job. Event ids rise; a client that comes back with `Last-Event-ID` gets what it has not seen, and 204 when that is nothing and nothing will come.',
        params: IdParams,
        headers: Type.Object({
          'last-event-id': Type.Optional(Type.String({ description: 'Id of the last event that was seen.' })),
        }),
        response: {
          200: { description: 'The events.', content: { [EVENT_STREAM]: { schema: refTo(JobEventView) } } },
          204: Type.Null({ description: 'The final event was seen already.' }),
          ...problemResponses(...ACCESS_FAILURES, ...QUEUE_FAILURES, 'id-invalid', 'job-not-found'),
        },
      },
    },
    async (request, reply) => {
      const { caller } = request;
      const record = await find(request.params.id, caller);
      const lastEventId = parseLastEventId(request.headers['last-event-id']);
      if (isFinal(record) && lastEventId !== undefined && lastEventId >= eventIdOf(record)) {
        return reply.code(204).send(null);
      }
      return sendEvents({ ...services, show, queue: queueOf(caller) }, reply, {
        id: record.id,
        lastEventId,
        closing,
      });
    },
  );

  app.delete(
    '/jobs/:id',
    {
      config: { produces: JSON_ONLY, access: 'generate' },
      schema: {
        tags: ['jobs'],
        operationId: 'cancelJob',
        summary: 'Cancel a job, waiting or running',
        params: IdParams,
        response: {
          200: refTo(Job, { description: 'The job, canceled.' }),
          ...problemResponses(
            ...ACCESS_FAILURES,
            ...QUEUE_FAILURES,
            'id-invalid',
            'job-not-found',
            'job-finished',
            'cross-site-refused',
          ),
        },
      },
    },
    async ({ params, log, caller }) => {
      const record = await queueOf(caller).cancel(params.id);
      log.info({ jobId: params.id, tenant: caller.tenant }, 'job canceled');
      if (hasFollowUp(record.payload)) webhooks.notifier.hint(record);
      return show(record);
    },
  );
}
