/** `POST /generate` and `PUT /generate/{id}`: a request becomes a job, and the answer takes the form that is asked for. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { newId } from '../../base/ids.ts';
import type { PromptFormat } from '../../prompts/prompt-format.ts';
import {
  createAcceptJob,
  JOB_FAILURES,
  JOB_FORMS,
  JOB_REQUEST_FAILURES,
  JOB_RESPONSES,
  PREFER_HEADER,
  refuseWhenDraining,
  WEIGHTS_TYPE,
} from '../accept-job.ts';
import { httpErrors } from '../errors.ts';
import { makeGeneratePayload } from '../generate-payload.ts';
import { jobIdOfKey } from '../idempotency-key.ts';
import { jobContext } from '../job-payload.ts';
import { negotiate } from '../negotiate.ts';
import type { ProblemCode } from '../problem.ts';
import {
  ACCESS_FAILURES,
  PROMPT_FAILURES,
  problemResponses,
  QUEUE_FAILURES,
  UNSAFE_FAILURES,
} from '../problem-responses.ts';
import { FORM_TYPE, PROMPT_TYPES } from '../prompt-types.ts';
import { createGenerateReader } from '../read-generate.ts';
import { ClientIdParams, generateForm, generateQuery, generateRequest } from '../schemas.ts';
import { ARCHIVE_TYPE } from '../send-adapter.ts';
import type { App, HttpServices } from '../services.ts';
import type { StoredUsage } from '../stored-usage.ts';

const JSON_TYPE = 'application/json';

const FAILURES: readonly ProblemCode[] = [
  ...ACCESS_FAILURES,
  ...UNSAFE_FAILURES,
  ...QUEUE_FAILURES,
  ...JOB_REQUEST_FAILURES,
  'field-unknown',
  ...PROMPT_FAILURES,
  'too-few-prompts',
  'count-too-large',
  'model-not-chosen',
  'model-not-found',
  'gguf-unsupported',
  'gguf-heads-unknown',
];
const DESCRIPTION = `Accepts a job and answers as the \`Accept\` header asks:

- \`application/json\` (default): the job, 202; with \`Prefer: wait=N\` 200 when it ends within N seconds.
- \`text/event-stream\`: its progress, then one event named after the final status with the job.
- \`application/x-tar\`: waits, then the adapter's files in one folder. \`application/octet-stream\`: waits, then
  \`adapter_model.safetensors\`. Both for \`count\` 1, and a job that fails is answered with its problem.

A client that leaves does not cancel its job; \`DELETE /jobs/{id}\` does.

Bodies other than JSON hold prompts, and the options are query parameters (also form fields in a form; \`metadata\` takes a
JSON body). An option that the query and the body both have is the body’s. Bodies may come with the \`Content-Encoding\` \`gzip\` or \`zstd\`, and files in a form may be compressed; what is
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
  const { models, limits, random } = services;
  const acceptJob = createAcceptJob(services, { stored, closing });
  const Query = generateQuery(limits);
  const requests = createGenerateReader(limits);

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
        [FORM_TYPE]: { schema: generateForm(limits) },
      },
    },
    response: JOB_RESPONSES,
  };
  const route = {
    config: { produces: JOB_FORMS, access: 'generate' as const },
    onRequest: refuseWhenDraining(services, closing),
    preValidation: requests.preValidation,
  };

  const accept = async (
    { id, fresh }: { id: string; fresh: boolean },
    request: FastifyRequest,
    reply: FastifyReply,
  ) => {
    const form = negotiate(request.headers.accept, JOB_FORMS)!;
    const { options: wanted, reading, described } = await requests.read(request);
    if ((form === ARCHIVE_TYPE || form === WEIGHTS_TYPE) && (wanted.count ?? 1) > 1 && !wanted.keep) {
      throw httpErrors.optionsConflict('One adapter can be the answer, several cannot.', {
        fields: [{ pointer: '/count', message: `must be 1 for ${form}` }],
      });
    }
    const context = {
      ...(await jobContext(services, { id, wanted, request })),
      reading,
      ...(described && { described }),
      models,
      ...(random && { random }),
    };
    return acceptJob(makeGeneratePayload(wanted, context), { id, fresh, form }, request, reply);
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
          ...PREFER_HEADER,
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
          ...PREFER_HEADER,
        }),
        response: { ...schema.response, ...problemResponses(...FAILURES, ...JOB_FAILURES, 'id-invalid') },
      },
    },
    (request, reply) => accept({ id: request.params.id, fresh: false }, request, reply),
  );
}
