/** `POST /generate` and `PUT /generate/{id}`: a request becomes a job, and the answer takes the form that is asked for. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import type { Caller } from '../../access/caller.ts';
import { ADAPTER_WEIGHTS_FILE } from '../../adapter/verify.ts';
import { baseErrors, LoradropError } from '../../base/errors.ts';
import { newId } from '../../base/ids.ts';
import type { GeneratePayload } from '../../jobs/catalog.ts';
import type { GenerateRecord } from '../../jobs/generate-queue.ts';
import { firstLook, hasFollowUp } from '../../jobs/notify.ts';
import { choosePrompts, type PromptChoice } from '../../prompts/choose-column.ts';
import type { PromptFormat } from '../../prompts/prompt-format.ts';
import { type PromptReading, sourceOf } from '../../prompts/read-unpacked.ts';
import { isFinal, type JobQuota, type SubmitOptions } from '../../queue/queue.ts';
import { storeErrors } from '../../store/errors.ts';
import { awaitJob, connectionSignal } from '../await-job.ts';
import { destinationOf } from '../destination-request.ts';
import { httpErrors } from '../errors.ts';
import {
  type GenerateOptionsWithMetadata,
  makeGeneratePayload,
  refuseOversized,
} from '../generate-payload.ts';
import { jobIdOfKey } from '../idempotency-key.ts';
import { adapterUrl, jobUrl } from '../links.ts';
import { negotiate } from '../negotiate.ts';
import { FORM_TYPE, PROMPT_TYPES } from '../plugins/bodies.ts';
import { preferredWaitSeconds } from '../prefer.ts';
import { SERVED_FILES } from '../present-adapter.ts';
import type { ProblemCode } from '../problem.ts';
import { ACCESS_FAILURES, problemResponses, QUEUE_FAILURES, UNSAFE_FAILURES } from '../problem-responses.ts';
import { readFiles } from '../read-files.ts';
import { type FormFile, readForm } from '../read-form.ts';
import {
  ClientIdParams,
  type GenerateOptions,
  type GenerateRequest,
  generateForm,
  generateQuery,
  generateRequest,
  Job,
  refTo,
} from '../schemas.ts';
import { ARCHIVE_TYPE, sendAdapterArchive, sendAdapterFile } from '../send-adapter.ts';
import { EVENT_STREAM, sendEvents } from '../send-events.ts';
import type { App, HttpLimits, HttpServices } from '../services.ts';
import { createShowJob } from '../show-job.ts';
import type { StoredUsage } from '../stored-usage.ts';
import { wants, webhooksOf } from '../webhook-request.ts';

const JSON_TYPE = 'application/json';
const WEIGHTS_TYPE = SERVED_FILES[ADAPTER_WEIGHTS_FILE];
/** Forms of the answer, the default one first. */
const FORMS = [JSON_TYPE, EVENT_STREAM, ARCHIVE_TYPE, WEIGHTS_TYPE] as const;

const FAILURES: readonly ProblemCode[] = [
  ...ACCESS_FAILURES,
  ...UNSAFE_FAILURES,
  ...QUEUE_FAILURES,
  'field-unknown',
  'form-invalid',
  'prompts-empty',
  'prompts-invalid',
  'too-many-prompts',
  'too-few-prompts',
  'prompt-too-long',
  'prompts-too-large',
  'prompts-hold-answers',
  'prompt-field-ambiguous',
  'prompt-field-invalid',
  'count-too-large',
  'deadline-too-long',
  'retention-too-long',
  'metadata-too-large',
  'model-not-chosen',
  'model-not-found',
  'gguf-unsupported',
  'gguf-heads-unknown',
  'webhook-url-invalid',
  'webhook-address-refused',
  'webhook-unresolvable',
  'webhook-events-invalid',
  'webhook-secret-missing',
  'destination-invalid',
  'destination-not-allowed',
  'job-conflict',
  'queue-full',
  'quota-waiting-exceeded',
  'quota-adapters-exceeded',
  'quota-stored-bytes-exceeded',
  'draining',
];
/** Failures of the job itself, where the adapter is the answer. */
const JOB_FAILURES: readonly ProblemCode[] = [
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

const DESCRIPTION = `Accepts a job and answers as the \`Accept\` header asks:

- \`application/json\` (default): the job, 202; with \`Prefer: wait=N\` 200 when it ends within N seconds.
- \`text/event-stream\`: its progress, then one event named after the final status with the job.
- \`application/x-tar\`: waits, then the adapter's files in one folder. \`application/octet-stream\`: waits, then
  \`adapter_model.safetensors\`. Both for \`count\` 1, and a job that fails is answered with its problem.

A client that leaves does not cancel its job; \`DELETE /jobs/{id}\` does.

Bodies other than JSON hold prompts, and the options are query parameters (form fields in a form; \`metadata\` takes a JSON
body). They may come with the \`Content-Encoding\` \`gzip\` or \`zstd\`, and files in a form may be compressed; what is
unpacked is bounded like the body itself.

Prompts are texts, or rows of a data set with further columns: JSON lines, JSON, the records of a CSV or TSV file under its
header, the rows of a Parquet file. Where the prompt is, is decided once for all rows, by \`promptField\` or \`promptTemplate\`, else
by the first of these that *every* row has: \`prompt\`; the first turn of \`human\` or \`user\` in \`conversations\` or
\`messages\`; \`instruction\` with \`input\` or \`context\`; else by the only one of \`body.messages\`, \`question\`,
\`query\`, \`text\`, \`input\`, \`inputs\`, \`problem\`. Two of these that differ are refused with \`prompt-field-ambiguous\`.
Of content in parts the text is taken. \`promptSource\` of the job tells which column it was.`;

/** What bodies of prompts are, by format. */
const BODIES: Readonly<Record<PromptFormat, string>> = {
  text: 'A prompt a line; blank lines are skipped.',
  jsonl: 'A string or an object a line.',
  json: 'An array of strings or objects.',
  csv: 'Records under a header, separated by commas or semicolons.',
  tsv: 'Records under a header, separated by tabs.',
  parquet: 'A Parquet file.',
};

/** Registers the routes. `closing` ends streams and waits when the application closes. */
export function registerGenerate(
  app: App,
  services: HttpServices,
  { stored, closing }: { stored: StoredUsage; closing: AbortSignal },
): void {
  const { models, metrics, limits, draining, now, random } = services;
  const show = createShowJob(services);
  const Query = generateQuery(limits);
  const Form = generateForm(limits);
  const filesOf = new WeakMap<FastifyRequest, readonly FormFile[]>();

  const schema = {
    tags: ['generate'],
    querystring: Query,
    body: {
      content: {
        [JSON_TYPE]: { schema: generateRequest(limits) },
        ...Object.fromEntries(
          Object.entries(PROMPT_TYPES).map(([type, format]) => [
            type,
            { schema: Type.String({ description: BODIES[format] }) },
          ]),
        ),
        [FORM_TYPE]: { schema: Form },
      },
    },
    response: {
      200: {
        description: 'The job has ended in time, had ended before, or its events or adapter follow.',
        content: {
          [JSON_TYPE]: { schema: refTo(Job) },
          [EVENT_STREAM]: { schema: Type.String({ description: 'See `GET /jobs/{id}/events`.' }) },
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
    },
  };
  const route = {
    config: { produces: FORMS, access: 'generate' as const },
    onRequest: async () => {
      if (draining?.aborted || closing.aborted) throw httpErrors.draining('New jobs go to another instance.');
    },
    preValidation: async (request: FastifyRequest) => {
      if (request.mediaType === FORM_TYPE) {
        const contentType = request.headers['content-type']!;
        const { fields, files } = readForm((request.body ?? Buffer.of()) as Buffer, contentType, Form);
        filesOf.set(request, files);
        request.body = { ...fields, ...(files.length > 0 && { file: files.map(({ format }) => format) }) };
      }
      if (request.body === undefined) {
        if (request.mediaType === undefined)
          throw httpErrors.mediaType('There is no body and no Content-Type.');
        throw httpErrors.jsonInvalid('The body is empty.');
      }
      refuseOversized(request.body, limits);
    },
  };

  const accept = async (
    { id, fresh }: { id: string; fresh: boolean },
    request: FastifyRequest,
    reply: FastifyReply,
  ) => {
    const form = negotiate(request.headers.accept, FORMS)!;
    const { options: wanted, reading } = await readRequest(request);
    if ((form === ARCHIVE_TYPE || form === WEIGHTS_TYPE) && (wanted.count ?? 1) > 1) {
      throw httpErrors.requestInvalid('One adapter can be the answer, several cannot.', {
        fields: [{ pointer: '/count', message: `must be 1 for ${form}` }],
      });
    }
    const destination = destinationOf(wanted, services.destinations, request.caller.tenant);
    const context = {
      id,
      reading,
      models,
      limits,
      requestId: request.id,
      webhooks: await webhooksOf(wanted, services.webhooks, request.caller.tenant),
      ...(destination && { destination }),
      ...(now && { now }),
      ...(random && { random }),
    };
    const { caller } = request;
    const queue = services.queue.of(caller.tenant);
    const payload = makeGeneratePayload(wanted, context);
    await services.storeReady?.();
    await stored.refuseWhenFull(caller);
    const { record, created } = await queue.submit(id, payload, {
      fresh,
      quota: jobQuotaOf(caller),
      ...notifyOf(payload),
    });
    if (created) {
      if (wants('job.queued', payload.webhooks)) services.webhooks.notifier.hint(record);
      metrics.accepted.inc({ model: record.payload.model });
      request.log.info(
        {
          job: id,
          tenant: caller.tenant,
          model: record.payload.model,
          count: record.payload.adapterIds.length,
        },
        'job accepted',
      );
    }
    reply.header('location', jobUrl(id));
    if (form === EVENT_STREAM) return sendEvents({ ...services, show, queue }, reply, { id, closing });
    if (form === JSON_TYPE) return answerWithJob(record, request, reply);
    return answerWithAdapter(record, form, request, reply);
  };

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

  app.post(
    '/generate',
    {
      ...route,
      schema: {
        ...schema,
        operationId: 'generate',
        summary: 'Generate adapters from prompts',
        description: DESCRIPTION,
        headers: Type.Object({
          prefer: Type.Optional(
            Type.String({ description: '`wait=N`: hold the request for up to N seconds.' }),
          ),
          'idempotency-key': Type.Optional(
            Type.String({
              description:
                'A request that is repeated under its key is not done twice; another one under it is a 409.',
            }),
          ),
        }),
        response: {
          ...schema.response,
          ...problemResponses(...FAILURES, ...JOB_FAILURES, 'idempotency-key-invalid'),
        },
      },
    },
    (request, reply) => {
      const key = request.headers['idempotency-key'];
      const fresh = key === undefined;
      return accept({ id: fresh ? newId('job', random) : jobIdOfKey(key), fresh }, request, reply);
    },
  );

  app.put(
    '/generate/:id',
    {
      ...route,
      schema: {
        ...schema,
        operationId: 'generateWithId',
        summary: 'Generate adapters under an id of your own, at most once',
        description: `Like \`POST /generate\`, with the job’s id chosen by the client: repeating the request answers with the job there is, and another request under the id is a 409. With \`count\` 1 the adapter has the same id.`,
        params: ClientIdParams,
        headers: Type.Object({
          prefer: Type.Optional(
            Type.String({ description: '`wait=N`: hold the request for up to N seconds.' }),
          ),
        }),
        response: { ...schema.response, ...problemResponses(...FAILURES, ...JOB_FAILURES, 'id-invalid') },
      },
    },
    (request, reply) => accept({ id: request.params.id, fresh: false }, request, reply),
  );

  async function readRequest(
    request: FastifyRequest,
  ): Promise<{ options: GenerateOptionsWithMetadata; reading: PromptReading }> {
    const query = request.query as GenerateOptions;
    const type = request.mediaType;
    if (type === JSON_TYPE || type === FORM_TYPE) {
      const extra = Object.keys(query);
      if (extra.length > 0) {
        throw httpErrors.fieldUnknown('With this body, options are fields of the body.', {
          fields: extra.map((name) => ({
            pointer: `/${name}`,
            message: 'is not taken as a query parameter',
          })),
        });
      }
    }
    if (type === JSON_TYPE) {
      const { prompts, ...options } = request.body as GenerateRequest;
      return { options, reading: readingOfRows(prompts, choiceOf(options), limits) };
    }
    if (type === FORM_TYPE) {
      const { file: _names, ...options } = request.body as GenerateOptions & { file: string[] };
      return { options, reading: await readFiles(filesOf.get(request)!, choiceOf(options), limits) };
    }
    const file = { bytes: request.body as Uint8Array, format: PROMPT_TYPES[type!]! };
    return { options: query, reading: await readFiles([file], choiceOf(query), limits) };
  }
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

/** The prompts of a JSON body, which are checked with the options. */
function readingOfRows(
  values: GenerateRequest['prompts'],
  choice: PromptChoice,
  { maxBodyBytes }: HttpLimits,
): PromptReading {
  const rows = values.map((value, index) => ({ value, number: index + 1 }));
  const { prompts, field, warnings } = choosePrompts(
    { rows, unit: 'Item', prefix: '/prompts' },
    choice,
    maxBodyBytes,
  );
  return {
    prompts,
    source: sourceOf(prompts, { format: 'json', ...(field !== undefined && { field }) }),
    warnings,
  };
}

function choiceOf({ promptField: field, promptTemplate: template }: GenerateOptions): PromptChoice {
  return { ...(field !== undefined && { field }), ...(template !== undefined && { template }) };
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
