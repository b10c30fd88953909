/** `/v1/fine_tuning/jobs`: generations in the shape of OpenAI's fine-tuning jobs. */
import { fineTuningCheckpoints } from '../../finetuning/checkpoints.ts';
import { fineTuningErrors } from '../../finetuning/errors.ts';
import { fineTuningEvents } from '../../finetuning/events.ts';
import { fineTuningIdOfKey, newFineTuningId } from '../../finetuning/ids.ts';
import { pageOf } from '../../finetuning/page.ts';
import { type FineTuningRecord, isFineTuning, presentFineTuning } from '../../finetuning/present-job.ts';
import { hasFollowUp } from '../../jobs/notify.ts';
import { queueErrors } from '../../queue/errors.ts';
import { FINE_TUNING_EVENTS } from '../../webhooks/events.ts';
import { createSubmitJob, JOB_REQUEST_FAILURES, refuseWhenDraining } from '../accept-job.ts';
import { findFineTuning, listFineTuning } from '../fine-tuning-jobs.ts';
import {
  chooseModel,
  fineTuningPayload,
  readTrainingFiles,
  refuseUnsupported,
} from '../fine-tuning-payload.ts';
import {
  FineTuningCheckpointList,
  FineTuningEventList,
  FineTuningJob,
  FineTuningJobList,
  FineTuningListQuery,
  FineTuningParams,
  FineTuningRequest,
  PartsQuery,
} from '../fine-tuning-schemas.ts';
import { jobIdOfKey } from '../idempotency-key.ts';
import { jobContext, refuseOversized } from '../job-payload.ts';
import { openaiResponses } from '../openai-responses.ts';
import type { ProblemCode } from '../problem.ts';
import { ACCESS_FAILURES, QUEUE_FAILURES, UNSAFE_FAILURES } from '../problem-responses.ts';
import { refTo } from '../schemas.ts';
import type { App, HttpServices } from '../services.ts';
import type { StoredUsage } from '../stored-usage.ts';

const JSON_ONLY = ['application/json'] as const;
const DEFAULT_PAGE = 20;
const FAILURES: readonly ProblemCode[] = [...ACCESS_FAILURES, ...QUEUE_FAILURES];
const JOB_FAILURES: readonly ProblemCode[] = [...FAILURES, 'id-invalid', 'job-not-found'];

const DESCRIPTION = `Accepts a generation as a fine-tuning job. The prompts are what users say in the rows of \`training_file\` before an answer
that is to be learned; **answers do not enter the adapter**, nothing is trained, and the job's events say so. A file that cannot be
used makes the job fail with the number of the line. \`hyperparameters\` have no effect. \`validation_file\` has the base scored on its
rows, alone and with the adapter, where there is a GGUF file of the base. A request that is repeated under its \`Idempotency-Key\` is not done twice.`;

/** Registers the routes. `closing` aborts when the application closes. */
export function registerFineTuning(
  app: App,
  services: HttpServices,
  { stored, closing }: { stored: StoredUsage; closing: AbortSignal },
): void {
  const { queue, validations, models, limits, webhooks, modelAliases = new Map(), random } = services;
  const submitJob = createSubmitJob(services, stored);
  const show = async (record: FineTuningRecord) => presentFineTuning(record, await validations.find(record));

  app.post(
    '/v1/fine_tuning/jobs',
    {
      config: { produces: JSON_ONLY, access: 'generate' },
      onRequest: refuseWhenDraining(services, closing),
      preValidation: async ({ body }) => refuseOversized(body, limits),
      schema: {
        tags: ['fine-tuning'],
        operationId: 'createFineTuningJob',
        summary: 'Make an adapter from a file of rows',
        description: DESCRIPTION,
        body: FineTuningRequest,
        response: {
          200: refTo(FineTuningJob),
          ...openaiResponses(
            ...FAILURES,
            ...UNSAFE_FAILURES,
            ...JOB_REQUEST_FAILURES,
            'field-unknown',
            'idempotency-key-invalid',
            'file-not-found',
            'fine-tuning-unsupported',
            'model-not-found',
            'store-full',
            'store-unavailable',
          ),
        },
      },
    },
    async (request) => {
      const { body, caller, headers } = request;
      refuseUnsupported(body);
      const bundle = chooseModel(body.model, { models, aliases: modelAliases });
      const key = headers['idempotency-key'];
      const fresh = key === undefined;
      const id = fresh ? newFineTuningId(random) : fineTuningIdOfKey(jobIdOfKey(key));
      const files = await readTrainingFiles(services, caller.tenant, body, bundle);
      const { url, events = [...FINE_TUNING_EVENTS] } = body.webhook ?? {};
      const wanted = url === undefined ? {} : { webhook: { url, events } };
      const context = { ...(await jobContext(services, { id, wanted, request })), bundle, models };
      const payload = fineTuningPayload(body, files, { ...context, ...(random && { random }) });
      const record = await submitJob(payload, { id, fresh }, request);
      if (!isFineTuning(record))
        throw queueErrors.conflict('The id belongs to a job that is no fine-tuning job.');
      return show(record);
    },
  );

  app.get(
    '/v1/fine_tuning/jobs',
    {
      config: { produces: JSON_ONLY, access: 'read' },
      schema: {
        tags: ['fine-tuning'],
        operationId: 'listFineTuningJobs',
        summary: 'List fine-tuning jobs, newest first',
        querystring: FineTuningListQuery,
        response: {
          200: refTo(FineTuningJobList),
          ...openaiResponses(...FAILURES, 'field-unknown', 'cursor-invalid'),
        },
      },
    },
    async ({ query, caller }) => {
      const { after, limit = DEFAULT_PAGE } = query;
      const metadata = metadataOf(query as Readonly<Record<string, unknown>>);
      const { jobs, hasMore } = await listFineTuning(queue.of(caller.tenant), { after, limit, metadata });
      return { object: 'list' as const, data: await Promise.all(jobs.map(show)), has_more: hasMore };
    },
  );

  app.get(
    '/v1/fine_tuning/jobs/:id',
    {
      config: { produces: JSON_ONLY, access: 'read' },
      schema: {
        tags: ['fine-tuning'],
        operationId: 'getFineTuningJob',
        summary: 'A fine-tuning job as it stands',
        params: FineTuningParams,
        response: { 200: refTo(FineTuningJob), ...openaiResponses(...JOB_FAILURES) },
      },
    },
    async ({ params, caller }) => show(await findFineTuning(queue.of(caller.tenant), params.id)),
  );

  app.post(
    '/v1/fine_tuning/jobs/:id/cancel',
    {
      config: { produces: JSON_ONLY, access: 'generate' },
      schema: {
        tags: ['fine-tuning'],
        operationId: 'cancelFineTuningJob',
        summary: 'Cancel a fine-tuning job, waiting or running',
        description: 'Once the adapter is made and only its validation goes on, the job cannot be canceled.',
        params: FineTuningParams,
        response: {
          200: refTo(FineTuningJob),
          ...openaiResponses(...JOB_FAILURES, 'job-finished', 'cross-site-refused'),
        },
      },
    },
    async ({ params: { id }, log, caller: { tenant } }) => {
      const found = await findFineTuning(queue.of(tenant), id);
      const isValidating =
        found.status === 'succeeded' && (await validations.find(found))?.state === 'pending';
      if (isValidating) throw queueErrors.finished('Its adapter is made, and only the validation goes on.');
      const record = await queue.of(tenant).cancel(id);
      log.info({ jobId: id, tenant }, 'job canceled');
      if (hasFollowUp(record.payload)) webhooks.notifier.hint(record);
      return show(record as FineTuningRecord);
    },
  );

  for (const what of ['pause', 'resume'] as const) {
    app.post(
      `/v1/fine_tuning/jobs/:id/${what}`,
      {
        config: { produces: JSON_ONLY, access: 'generate' },
        schema: {
          tags: ['fine-tuning'],
          operationId: `${what}FineTuningJob`,
          summary: `Not done: \`fine-tuning-unsupported\``,
          params: FineTuningParams,
          response: { ...openaiResponses(...JOB_FAILURES, 'fine-tuning-unsupported', 'cross-site-refused') },
        },
      },
      async ({ params, caller }) => {
        await findFineTuning(queue.of(caller.tenant), params.id);
        throw fineTuningErrors.unsupported(
          'A job takes seconds and cannot be paused. Cancel it, or let it end.',
        );
      },
    );
  }

  app.get(
    '/v1/fine_tuning/jobs/:id/events',
    {
      config: { produces: JSON_ONLY, access: 'read' },
      schema: {
        tags: ['fine-tuning'],
        operationId: 'listFineTuningEvents',
        summary: 'What a fine-tuning job did, newest first',
        params: FineTuningParams,
        querystring: PartsQuery,
        response: {
          200: refTo(FineTuningEventList),
          ...openaiResponses(...JOB_FAILURES, 'field-unknown', 'cursor-invalid'),
        },
      },
    },
    async ({ params, query, caller }) => partsOf(fineTuningEvents, params.id, query, caller.tenant),
  );

  app.get(
    '/v1/fine_tuning/jobs/:id/checkpoints',
    {
      config: { produces: JSON_ONLY, access: 'read' },
      schema: {
        tags: ['fine-tuning'],
        operationId: 'listFineTuningCheckpoints',
        summary: 'The adapter of a fine-tuning job, with the figures of its validation',
        params: FineTuningParams,
        querystring: PartsQuery,
        response: {
          200: refTo(FineTuningCheckpointList),
          ...openaiResponses(...JOB_FAILURES, 'field-unknown', 'cursor-invalid'),
        },
      },
    },
    async ({ params, query, caller }) => partsOf(fineTuningCheckpoints, params.id, query, caller.tenant),
  );

  /** A page of what is told of a job. */
  async function partsOf<T extends { readonly id: string }>(
    tell: (
      record: FineTuningRecord,
      validation: Awaited<ReturnType<typeof validations.find>>,
    ) => readonly T[],
    id: string,
    { after, limit = DEFAULT_PAGE }: { after?: string; limit?: number },
    tenant: string,
  ) {
    const record = await findFineTuning(queue.of(tenant), id);
    const page = pageOf(tell(record, await validations.find(record)), { after, limit });
    if (!page) throw queueErrors.badCursor('Nothing in the list has the id in `after`.');
    return page;
  }
}

/** The entries of `metadata[key]=value` parameters. */
function metadataOf(query: Readonly<Record<string, unknown>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(query).flatMap(([name, value]) => {
      const key = /^metadata\[(.+)\]$/.exec(name)?.[1];
      return key === undefined ? [] : [[key, String(value)]];
    }),
  );
}
