/** The shapes the API speaks, as schemas and their derived types. `$id`s become the components of the OpenAPI document. */
import { type Static, type TSchema, Type } from 'typebox';
import { SCOPES } from '../access/caller.ts';
import { GGUF_DTYPES } from '../adapter/gguf.ts';
import { KEEPS, MAX_STEPS, TransformStep } from '../arithmetic/steps.ts';
import { SHA256_PATTERN } from '../base/digest.ts';
import { DTYPES } from '../base/dtype.ts';
import { ID_PATTERN, TENANT_PATTERN } from '../base/ids.ts';
import { MAX_SEED } from '../base/random.ts';
import { AdapterInfo } from '../jobs/adapter-info.ts';
import { ADAPTER_FORMATS } from '../jobs/catalog.ts';
import { Evaluation } from '../models/evaluation.ts';
import { Licence } from '../models/licence.ts';
import { PROMPT_FILES, PROMPT_FORMATS } from '../prompts/prompt-format.ts';
import { MAX_FIELD_CHARS, MAX_TEMPLATE_CHARS } from '../prompts/template.ts';
import { JOB_STAGES, JOB_STATUSES } from '../queue/queue.ts';
import { MAX_PREFIX_CHARS } from '../store/destination-rules.ts';
import { WEBHOOK_EVENTS } from '../webhooks/events.ts';
import {
  DEPLOY_FIELDS,
  DEPLOYMENT_COMPONENTS,
  JobDeploymentView,
  MAX_DEPLOYS,
} from './deployment-schemas.ts';
import { PROBLEMS } from './problem.ts';
import type { HttpLimits } from './services.ts';
import { told } from './told-limits.ts';

const closed = { additionalProperties: false } as const;

/** A reference to a schema that has an `$id` and was added to the application, with the schema's own type. */
export function refTo<T extends TSchema>(schema: T, options: { description?: string } = {}) {
  return Type.Unsafe<Static<T>>({ $ref: `${(schema as { $id?: string }).$id}#`, ...options });
}

/**
 * An id that a client may choose: shorter than ids may be, since the adapters of a job with several append `--31` and the
 * like to it, and without such an ending, so that an adapter of one job never has the id of another job's.
 */
export const CLIENT_ID_PATTERN = ID_PATTERN.replace('{0,63}', '{0,55}').replace('^', '^(?!.*--[0-9]+$)');

/** Most entries, and longest keys and values, of `metadata`: labels, not documents; every answer repeats them. */
export const METADATA_LIMITS = { entries: 16, keyChars: 64, valueChars: 512 } as const;

/** Longest `name`, which ends up in files and listings. */
const MAX_NAME_CHARS = 200;
/** No control characters: names and metadata end up in logs, terminals and databases. */
const PLAIN_TEXT = '^[^\\u0000-\\u001f\\u007f]*$';

const Sha256 = Type.String({ pattern: SHA256_PATTERN, description: 'SHA-256, lower-case hex.' });
const Time = Type.String({ format: 'date-time' });
const Url = Type.String({ format: 'uri-reference', description: 'Relative to the service.' });
const DtypeName = Type.Enum([...DTYPES]);
const Id = Type.String({ pattern: ID_PATTERN });
const EventName = Type.Enum([...WEBHOOK_EVENTS]);

/** The path parameter of jobs and adapters. */
export const IdParams = Type.Object({ id: Id });
/** The path parameter where the client chooses the id. */
export const ClientIdParams = Type.Object({
  id: Type.String({
    pattern: CLIENT_ID_PATTERN,
    description:
      'Chosen by the client: 1–56 of `A–Z a–z 0–9 _ -`, not starting with `-`, not all digits, not ending in `--` and digits.',
  }),
});

/** Options that every job has which makes adapters. */
function jobOptions(limits: HttpLimits) {
  return {
    format: Type.Optional(
      Type.Enum([...ADAPTER_FORMATS], {
        default: 'safetensors',
        description:
          '`gguf` keeps `adapter.gguf` (f16, for llama.cpp) beside the safetensors, for readers of the store, of a destination and of archives. `GET /adapters/{id}/adapter.gguf` needs no such file.',
      }),
    ),
    name: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: MAX_NAME_CHARS,
        pattern: PLAIN_TEXT,
        description: 'For people.',
      }),
    ),
    setName: Type.Optional(
      Type.Boolean({
        default: false,
        description:
          'Makes `name` stand for the adapter once the job succeeds, as `PUT /names/{name}` does. `name` must have the form that is taken there, and `count` be 1. Of several jobs, the last one to succeed holds.',
      }),
    ),
    priority: Type.Optional(
      Type.Integer({ minimum: 0, maximum: 9, default: 5, description: '0 (background) to 9 (urgent).' }),
    ),
    deadlineSeconds: Type.Optional(
      Type.Integer({
        minimum: 1,
        ...told({ maximum: limits.maxDeadlineSeconds }),
        description: `The job fails with \`deadline-exceeded\` when it takes longer. At most ${limits.maxDeadlineSeconds}.`,
      }),
    ),
    retentionSeconds: Type.Optional(
      Type.Integer({
        minimum: 1,
        default: limits.defaultRetentionSeconds,
        ...told({ maximum: limits.maxRetentionSeconds }),
        description: `How long the adapters and the job’s record are kept. At most ${limits.maxRetentionSeconds}.`,
      }),
    ),
    presign: Type.Optional(
      Type.Boolean({
        description:
          'Once it has succeeded, the job shows links to its adapters’ files that need no key and end after a while (`links` of an adapter; `urls.adapter` is the one to the first adapter’s weights). Whoever has such a link can fetch the file. The operator decides the default, which is false.',
      }),
    ),
  };
}

/** The options of a generation: fields of a JSON body, else query parameters or form fields. */
export function generateOptions(limits: HttpLimits) {
  return {
    model: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 64,
        description: 'Id of a model. Default: the service’s default model.',
      }),
    ),
    count: Type.Optional(
      Type.Integer({
        minimum: 1,
        default: 1,
        ...told({ maximum: limits.maxCount }),
        description: `Adapters to sample, each from the next draw of prompts. At most ${limits.maxCount}.`,
      }),
    ),
    seed: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: MAX_SEED,
        description: 'Decides the draw of prompts. Default: random, and told in the job.',
      }),
    ),
    strictPrompts: Type.Optional(
      Type.Boolean({
        default: false,
        description: 'Refuses fewer than N prompts with `too-few-prompts` instead of repeating some.',
      }),
    ),
    promptField: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: MAX_FIELD_CHARS,
        description:
          'Where rows have their prompt: a column’s name, or a JSON pointer into the row (`/input/messages`). Default: the columns that public data sets use.',
      }),
    ),
    promptTemplate: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: MAX_TEMPLATE_CHARS,
        description:
          'Makes each prompt of several columns, as in `{instruction}\n{input}`; `{{` and `}}` are braces. A line whose columns are all empty is left out. Excludes `promptField`.',
      }),
    ),
    keep: Type.Optional(
      Type.Enum([...KEEPS], {
        description:
          'Makes one adapter of `count` samples (2 or more): `central`, the sample nearest to their mean in weight space; `mean`, the mean itself, cut back to the rank of one sample. The adapter’s `transform.samples` tells how far each was from the mean.',
      }),
    ),
    dtype: Type.Optional(
      Type.Enum([...DTYPES], { default: 'bf16', description: 'Number format of the adapter’s tensors.' }),
    ),
    ...jobOptions(limits),
  };
}

/** The options as query parameters, for bodies that hold nothing but prompts. */
export function generateQuery(limits: HttpLimits) {
  return Type.Object(generateOptions(limits), closed);
}
/** Options of a generation, whatever way they came. */
export type GenerateOptions = Static<ReturnType<typeof generateQuery>>;

/** Options that are objects, so that a JSON body alone can have them. */
const JOB_OBJECTS = {
  metadata: Type.Optional(
    Type.Record(
      Type.String(),
      Type.String({ pattern: PLAIN_TEXT, ...told({ maxLength: METADATA_LIMITS.valueChars }) }),
      {
        ...told({
          maxProperties: METADATA_LIMITS.entries,
          propertyNames: { maxLength: METADATA_LIMITS.keyChars, pattern: PLAIN_TEXT },
        }),
        description: `Kept and shown with the job. At most ${METADATA_LIMITS.entries} entries, keys of ${METADATA_LIMITS.keyChars} and values of ${METADATA_LIMITS.valueChars} characters.`,
      },
    ),
  ),
  webhook: Type.Optional(
    Type.Object(
      {
        url: Type.String({
          description:
            'Where the job’s events are posted, signed as Standard Webhooks say. A public https:// address; the operator may allow others.',
        }),
        events: Type.Optional(
          Type.Array(EventName, {
            ...told({ minItems: 1, uniqueItems: true }),
            description:
              'Default: `job.succeeded`, `job.failed`, `job.canceled`. `job.delivered` comes when a copy of the adapter has reached the request’s destination, so not without one. `fine_tuning.job.succeeded`, `.failed` and `.cancelled` come for jobs of `/v1/fine_tuning` alone, in OpenAI’s shape.',
          }),
        ),
      },
      { ...closed, description: 'Who is told of the job.' },
    ),
  ),
  destination: Type.Optional(
    Type.Object(
      {
        type: Type.Literal('s3'),
        bucket: Type.String({ description: 'A bucket that the operator allows.' }),
        prefix: Type.Optional(
          Type.String({
            description: `At most ${MAX_PREFIX_CHARS} characters: parts of letters, digits, \`_\`, \`-\` and \`.\` with a slash between them.`,
          }),
        ),
      },
      {
        ...closed,
        description:
          'Where the adapters are copied once the job has succeeded: each to `{prefix}/{adapter id}/`, `adapter_config.json` last. What is there is never overwritten. A copy that fails is tried again for a day, and the adapters are kept for that long; `destination` of the job tells how it stands. A copy that is given up leaves the job succeeded.',
      },
    ),
  ),
  deploy: Type.Optional(
    Type.Array(Type.Object(DEPLOY_FIELDS, closed), {
      maxItems: MAX_DEPLOYS,
      description:
        'Model servers on which the adapters are loaded once the job has succeeded, on every replica, and kept loaded until the adapter is deleted or expires. `deployments` of the job tells how that stands; a job stays succeeded whatever the servers do.',
    }),
  ),
};

/** What is done with adapters, step by step. */
function transformSteps(minItems: number) {
  return Type.Array(TransformStep, {
    minItems,
    maxItems: MAX_STEPS,
    description: 'What is done with each adapter, in this order, exactly and without training.',
  });
}

/** The JSON body of a generation. */
export function generateRequest(limits: HttpLimits) {
  return Type.Object(
    {
      prompts: Type.Optional(
        Type.Array(Type.Unsafe<string | Record<string, unknown>>({ type: ['string', 'object'] }), {
          ...told({ minItems: 1 }),
          description: `Texts, or rows of a data set as in JSON lines. At least 1 and at most ${limits.maxPrompts} texts of at most ${limits.maxPromptChars} characters, not blank. A model takes N of them (\`condition.prompts\`): exactly N are used in the order given, of more N are drawn with the seed, fewer are repeated at random with a warning, or refused with \`strictPrompts\`. A model that \`takes\` a description takes exactly one.`,
        }),
      ),
      description: Type.Optional(
        Type.String({
          description: `What a task is, in words, in place of \`prompts\`: for a model that \`takes\` a description. At most ${limits.maxPromptChars} characters, not blank.`,
        }),
      ),
      ...generateOptions(limits),
      transform: Type.Optional(transformSteps(1)),
      ...JOB_OBJECTS,
    },
    {
      ...closed,
      ...told({ anyOf: [{ required: ['prompts'] }, { required: ['description'] }] }),
      examples: [
        {
          prompts: ['Which gas do plants take in from the air?', 'Why does ice float on water?'],
          seed: 7,
          name: 'science',
          metadata: { team: 'school' },
        },
      ],
    },
  );
}
/** A generation as it was asked for. */
export type GenerateRequest = Static<ReturnType<typeof generateRequest>>;

/** Most adapters that are added up in one request. */
const MAX_TERMS = 16;

/** The JSON body of a transform. */
export function transformRequest(limits: HttpLimits) {
  const weight = Type.Optional(
    Type.Number({ minimum: -16, maximum: 16, default: 1, description: 'What its ΔW is multiplied with.' }),
  );
  return Type.Object(
    {
      weight,
      add: Type.Optional(
        Type.Array(Type.Object({ adapter: Id, weight }, closed), {
          maxItems: MAX_TERMS - 1,
          description: 'Adapters of the same base that are added, before the steps. The ranks add up.',
        }),
      ),
      transform: Type.Optional(transformSteps(0)),
      dtype: Type.Optional(
        Type.Enum([...DTYPES], { description: 'Number format of the result. Default: that of the adapter.' }),
      ),
      ...jobOptions(limits),
      ...JOB_OBJECTS,
    },
    closed,
  );
}
/** See {@link transformRequest}. */
export type TransformRequest = Static<ReturnType<typeof transformRequest>>;

/** The fields of a multipart form. `file` holds the prompts that were read from the files. */
export function generateForm(limits: HttpLimits) {
  return Type.Object(
    {
      file: Type.Array(Type.String({ format: 'binary' }), {
        ...told({ minItems: 1 }),
        description: `One or more files of prompts: ${PROMPT_FILES}, told by the name or else by the part’s media type. Read like the bodies of the same types, one after the other.`,
      }),
      ...generateOptions(limits),
    },
    closed,
  );
}

const FieldProblem = Type.Object({
  pointer: Type.String({
    description: 'JSON pointer into the body, or the parameter. Lines count like the items of an array.',
  }),
  message: Type.String(),
});

const problemFields = {
  type: Type.String({ format: 'uri-reference', description: '`/problems/{code}`, which explains it.' }),
  title: Type.String(),
  status: Type.Integer(),
  detail: Type.String({ description: 'What happened this time. Holds no prompt text and no paths.' }),
  code: Type.String({
    description: `Stable; branch on it. One of ${Object.keys(PROBLEMS)
      .map((code) => `\`${code}\``)
      .join(', ')}.`,
  }),
  errors: Type.Optional(Type.Array(FieldProblem, { description: 'The offending fields, at most 20.' })),
};

/** RFC 9457. */
export const ProblemDocument = Type.Object(
  { ...problemFields, instance: Type.String({ description: 'The request’s id, as in `X-Request-Id`.' }) },
  { $id: 'Problem', description: 'A failure (RFC 9457).' },
);

/** Why a job failed: a problem without a request. */
export const JobError = Type.Object(problemFields, { $id: 'JobError', description: 'Why a job failed.' });

/** What `/problems` says of a code. */
export const ProblemExplanation = Type.Object(
  {
    code: Type.String(),
    type: Type.String({ format: 'uri-reference' }),
    status: Type.Integer(),
    meaning: Type.String(),
  },
  { $id: 'ProblemExplanation', description: 'What a failure means.' },
);

/** Milliseconds by stage. */
export const Timings = Type.Object(
  {
    queuedMs: Type.Integer(),
    loadingMs: Type.Integer(),
    batchingMs: Type.Integer(),
    embeddingMs: Type.Integer(),
    decodingMs: Type.Integer(),
    writingMs: Type.Integer(),
    totalMs: Type.Integer(),
  },
  {
    $id: 'Timings',
    description: 'Milliseconds by stage, summed over the job’s adapters; `queuedMs` up to the last start.',
  },
);

/** Links to an adapter's files that work without a key. */
export const FileLinks = Type.Object(
  {
    weights: Type.String({ format: 'uri-reference', description: '`adapter_model.safetensors`.' }),
    config: Type.String({ format: 'uri-reference', description: '`adapter_config.json`.' }),
    expiresAt: Time,
  },
  {
    $id: 'FileLinks',
    description:
      'Links to an adapter’s files. They need no key, so keep them as you would keep the files, and they end at `expiresAt`: the job and the adapter show new ones each time. Addresses of object storage, or of this service: absolute where the operator has told its address, else relative to it.',
  },
);

/** An adapter of a job, promised or made. */
export const JobAdapterView = Type.Object(
  {
    id: Id,
    url: Url,
    promptDigests: Type.Optional(
      Type.Array(Sha256, {
        description: 'SHA-256 of each chosen prompt, in condition order. Left out in listings.',
      }),
    ),
    bytes: Type.Optional(
      Type.Integer({
        description: 'Of `adapter_model.safetensors`. This and the following: once the job succeeded.',
      }),
    ),
    sha256: Type.Optional(Sha256),
    tensors: Type.Optional(Type.Integer()),
    parameters: Type.Optional(Type.Integer()),
    fromStore: Type.Optional(
      Type.Boolean({
        description: 'True when an equal adapter was in the store, so that the decoder did not run.',
      }),
    ),
    location: Type.Optional(
      Type.String({
        description: 'Address of the adapter’s directory in shared storage. Absent for a local store.',
      }),
    ),
    links: Type.Optional(
      refTo(FileLinks, {
        description:
          'Where the job was asked for with `presign`, has succeeded and the adapter is there. Left out in listings and while the store does not answer.',
      }),
    ),
  },
  { $id: 'JobAdapter', description: 'An adapter of a job, promised or made.' },
);

/** Where a job's prompts were found. */
export const PromptSource = Type.Object(
  {
    format: Type.String({
      description: `How they were read: ${PROMPT_FORMATS.map((format) => `\`${format}\``).join(', ')}; of several files, the first.`,
    }),
    field: Type.Optional(
      Type.String({
        description:
          'The column or columns they were taken from, as in `question` or `instruction + input`. Absent for plain texts.',
      }),
    ),
    rows: Type.Integer({ description: 'Prompts that were given.' }),
    distinct: Type.Integer({ description: 'Different texts among them.' }),
  },
  { $id: 'PromptSource', description: 'Where a job’s prompts were found, and how many there are.' },
);

/** The destination of a job and how its copy stands. */
export const JobDestination = Type.Object(
  {
    type: Type.Literal('s3'),
    bucket: Type.String(),
    prefix: Type.String(),
    state: Type.Enum(['pending', 'delivered', 'failed'], {
      description:
        '`delivered`: all files of all adapters are there. `failed`: given up after a day, or at once where waiting mends nothing; also when the job itself failed or was canceled.',
    }),
    location: Type.String({
      description:
        'Address of the first adapter’s copy, also before it is there. The others lie beside it, each under its id.',
    }),
    attempts: Type.Integer({ description: 'Attempts made so far.' }),
    lastAttemptAt: Type.Optional(Time),
    nextAttemptAt: Type.Optional(Time),
    deliveredAt: Type.Optional(Time),
    error: Type.Optional(refTo(JobError, { description: 'Why the last attempt failed.' })),
  },
  { $id: 'JobDestination', description: 'Where a job’s adapters are copied, and how that stands.' },
);

/** What {@link PromptPreview} is the answer to: prompts that were read, and nothing made of them. */
export const PromptPreview = Type.Object(
  {
    model: Type.String(),
    count: Type.Integer({ description: 'Prompts that were read.' }),
    distinct: Type.Integer({ description: 'Different texts among them.' }),
    wanted: Type.Integer({ description: 'Prompts that an adapter of the model is made of.' }),
    tokenLimit: Type.Integer({ description: 'Most tokens of a prompt that the encoder takes.' }),
    source: refTo(PromptSource),
    warnings: Type.Array(Type.String()),
    prompts: Type.Array(
      Type.Object({
        text: Type.String({ description: 'The beginning of it.' }),
        chars: Type.Integer(),
        tokens: Type.Optional(Type.Integer({ description: 'Absent where this process has no tokenizer.' })),
        kept: Type.Optional(Type.Integer({ description: 'Tokens that the encoder keeps.' })),
      }),
      { description: 'The first 200.' },
    ),
  },
  { $id: 'PromptPreview', description: 'What of prompts would be used.' },
);

/** What `GET /adapters/{id}/norms` compares with. */
export const NormsQuery = Type.Object(
  {
    other: Type.Optional(
      Type.String({ pattern: ID_PATTERN, description: 'Id of an adapter of the same base.' }),
    ),
  },
  closed,
);
/** How much an adapter changes each module. */
export const Norms = Type.Object(
  {
    modules: Type.Record(Type.String(), Type.Number(), {
      description: '‖ΔW‖ (Frobenius) of each module, by its path in the base.',
    }),
    total: Type.Number({ description: '√Σ‖ΔW‖².' }),
    other: Type.Optional(
      Type.Object({
        adapter: Id,
        total: Type.Number(),
        distance: Type.Number({ description: '‖ΔW − ΔW of the other‖ over all modules.' }),
        cosine: Type.Number({ description: 'Of the angle between the two changes.' }),
      }),
    ),
  },
  { $id: 'AdapterNorms', description: 'How much an adapter changes its base.' },
);

/** A job as clients see it. */
export const Job = Type.Object(
  {
    id: Id,
    status: Type.Enum([...JOB_STATUSES]),
    stage: Type.Enum([...JOB_STAGES]),
    fraction: Type.Number({ minimum: 0, maximum: 1, description: 'Share of the whole job that is done.' }),
    position: Type.Optional(Type.Integer({ description: 'Jobs that start before it, while it is queued.' })),
    attempts: Type.Integer({ description: 'Runs begun so far.' }),
    model: Type.String(),
    bundleDigest: Sha256,
    trained: Type.Optional(
      Type.Boolean({
        description: 'False for a model with random weights. Absent when the model is no longer there.',
      }),
    ),
    dtype: DtypeName,
    format: Type.Enum([...ADAPTER_FORMATS]),
    seed: Type.Integer(),
    count: Type.Integer(),
    sources: Type.Optional(
      Type.Array(Type.Object({ adapter: Id, weight: Type.Number(), url: Url }), {
        description: 'Adapters that the job’s adapter is made from, in place of prompts.',
      }),
    ),
    keep: Type.Optional(Type.Enum([...KEEPS])),
    transform: Type.Optional(Type.Array(TransformStep)),
    promptSource: Type.Optional(refTo(PromptSource)),
    priority: Type.Integer(),
    name: Type.Optional(Type.String()),
    setName: Type.Optional(
      Type.Boolean({ description: 'The name is set once the job succeeds. Absent where it is not.' }),
    ),
    metadata: Type.Optional(Type.Record(Type.String(), Type.String())),
    webhook: Type.Optional(
      Type.Object(
        { url: Type.String(), events: Type.Array(EventName) },
        { description: 'As the request has it; a password in the address is not shown.' },
      ),
    ),
    destination: Type.Optional(refTo(JobDestination)),
    deployments: Type.Optional(
      Type.Array(refTo(JobDeploymentView), {
        description: 'Where it was asked for with `deploy`: one for each adapter and target.',
      }),
    ),
    presign: Type.Optional(
      Type.Literal(true, { description: 'It shows `links` of its adapters once it has succeeded.' }),
    ),
    warnings: Type.Array(Type.String()),
    acceptedAt: Time,
    startedAt: Type.Optional(Time),
    finishedAt: Type.Optional(Time),
    deadlineAt: Type.Optional(Time),
    retentionSeconds: Type.Integer(),
    device: Type.Optional(Type.String({ description: 'Where inference ran: `cpu`, `cuda:0`.' })),
    timings: Type.Optional(refTo(Timings)),
    promptsEncoded: Type.Optional(Type.Integer()),
    promptsCached: Type.Optional(Type.Integer()),
    location: Type.Optional(
      Type.String({ description: 'Of the first adapter in shared storage; all are in `adapters`.' }),
    ),
    adapters: Type.Array(refTo(JobAdapterView)),
    error: Type.Optional(refTo(JobError)),
    urls: Type.Object({
      self: Url,
      events: Url,
      cancel: Type.String({ format: 'uri-reference', description: 'Send DELETE.' }),
      deliveries: Type.Optional(
        Type.String({ format: 'uri-reference', description: 'Of its webhook, where it has one.' }),
      ),
      adapter: Type.String({
        format: 'uri-reference',
        description:
          'The first adapter; all are in `adapters`. Where that has `links`, the one to its weights.',
      }),
    }),
  },
  { $id: 'Job', description: 'A generation job.' },
);
/** See {@link Job}. */
export type Job = Static<typeof Job>;

/** Largest number of a delivery: a job has a few hundred at most. */
const MAX_DELIVERY = 999_999;

/** The path parameters of a delivery. */
export const DeliveryParams = Type.Object({
  id: Id,
  n: Type.Integer({
    minimum: 0,
    maximum: MAX_DELIVERY,
    description: 'Number of the delivery among those of the job.',
  }),
});

/** A delivery of a job's webhook as clients see it. */
export const DeliveryView = Type.Object(
  {
    n: Type.Integer({ description: '0-based number among the deliveries of the job.' }),
    id: Type.String({ description: 'The `webhook-id` header, the same in every attempt.' }),
    event: EventName,
    state: Type.Enum(['pending', 'delivered', 'failed', 'disabled'], {
      description:
        '`failed`: given up after a day of attempts. `disabled`: the receiver answered 410, so nothing more is sent to it.',
    }),
    attempts: Type.Integer({ description: 'Attempts made so far.' }),
    createdAt: Time,
    lastAttemptAt: Type.Optional(Time),
    nextAttemptAt: Type.Optional(Time),
    status: Type.Optional(Type.Integer({ description: 'What the receiver answered last.' })),
    failure: Type.Optional(
      Type.String({
        description: 'Why there was no answer: `timeout`, `connection-refused`, `tls-failed` ….',
      }),
    ),
    urls: Type.Object({
      replay: Type.String({ format: 'uri-reference', description: 'Send POST.' }),
    }),
  },
  { $id: 'Delivery', description: 'A delivery of a job’s webhook.' },
);
/** See {@link DeliveryView}. */
export type DeliveryView = Static<typeof DeliveryView>;

/** All deliveries of a job. */
export const DeliveryList = Type.Object(
  { deliveries: Type.Array(refTo(DeliveryView)) },
  { $id: 'DeliveryList', description: 'Deliveries of a job’s webhook, in order.' },
);

/** The data of a `progress` event. */
export const JobProgressView = Type.Object(
  {
    id: Id,
    status: Type.Enum([...JOB_STATUSES]),
    stage: Type.Enum([...JOB_STAGES]),
    fraction: Type.Number(),
    adapter: Type.Integer({ description: '0-based number of the adapter being made.' }),
    attempts: Type.Integer(),
    position: Type.Optional(Type.Integer()),
  },
  {
    $id: 'JobProgress',
    description:
      'The data of a `progress` event. The last event is named after the final status and has a Job.',
  },
);
/** See {@link JobProgressView}. */
export type JobProgressView = Static<typeof JobProgressView>;

/** An event of a job's stream. */
export const JobEventView = Type.Object(
  {
    id: Type.String({ description: 'For `Last-Event-ID`.' }),
    event: Type.Enum(['progress', 'succeeded', 'failed', 'canceled']),
    data: Type.String({
      contentMediaType: 'application/json',
      description: 'A `JobProgress` in an event named `progress`, else the `Job`.',
    }),
  },
  { $id: 'JobEvent', description: 'An event of a job’s stream, which has one after the other.' },
);

/** Most jobs on a page. */
const MAX_PAGE = 100;
/** Longest cursor: they are ours and short. */
const MAX_CURSOR_CHARS = 512;

/** Filter and page of the job listing. */
export const JobListQuery = Type.Object(
  {
    status: Type.Optional(Type.Enum([...JOB_STATUSES])),
    model: Type.Optional(Type.String({ minLength: 1, maxLength: 64 })),
    cursor: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: MAX_CURSOR_CHARS,
        description: '`nextCursor` of the page before.',
      }),
    ),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_PAGE, default: 20 })),
  },
  closed,
);

/** A page of jobs. */
export const JobList = Type.Object(
  {
    jobs: Type.Array(refTo(Job)),
    nextCursor: Type.Optional(Type.String({ description: 'Absent on the last page.' })),
  },
  { $id: 'JobList', description: 'Jobs, newest first.' },
);

/** What may be asked of an adapter's description. */
export const AdapterQuery = Type.Object(
  {
    presign: Type.Optional(
      Type.Boolean({
        description:
          'Shows `links` to its files that need no key and end after a while. The operator decides the default, which is false.',
      }),
    ),
  },
  closed,
);

/** How an adapter is sent as GGUF. */
export const GgufQuery = Type.Object(
  {
    dtype: Type.Optional(
      Type.Enum([...GGUF_DTYPES], { default: 'f16', description: 'Number format of the tensors.' }),
    ),
  },
  closed,
);

/** The path parameters of a link. Any text: what was not signed here is refused all the same. */
export const LinkParams = Type.Object({
  tenant: Type.String({ maxLength: 64 }),
  id: Type.String({ maxLength: 64 }),
});

/** The query parameters of a link. */
export const LinkQuery = Type.Object(
  {
    expires: Type.Optional(Type.String({ description: 'When the link ends, in seconds since the epoch.' })),
    signature: Type.Optional(Type.String({ description: 'Shows that the link was made here.' })),
  },
  closed,
);

/** An adapter as clients see it. */
export const Adapter = Type.Object(
  {
    id: Id,
    ...AdapterInfo.properties,
    createdAt: Time,
    expiresAt: Time,
    location: Type.Optional(
      Type.String({
        description: 'Address of the adapter’s directory in shared storage. Absent for a local store.',
      }),
    ),
    files: Type.Array(
      Type.Object({ name: Type.String(), bytes: Type.Integer(), sha256: Sha256, url: Type.Optional(Url) }),
    ),
    urls: Type.Object({
      self: Url,
      job: Url,
      weights: Url,
      config: Url,
      gguf: Type.Optional(
        Type.String({
          format: 'uri-reference',
          description: 'Where the adapter is kept as GGUF, or says what a conversion needs to know.',
        }),
      ),
      archive: Url,
    }),
    links: Type.Optional(refTo(FileLinks, { description: 'Where they were asked for with `presign`.' })),
  },
  { $id: 'Adapter', description: 'A finished adapter.' },
);
/** See {@link Adapter}. */
export type Adapter = Static<typeof Adapter>;

/** A model as clients see it. */
export const Model = Type.Object(
  {
    id: Type.String(),
    version: Type.String(),
    title: Type.String(),
    description: Type.String(),
    default: Type.Boolean({ description: 'True for the model of requests that name none.' }),
    trained: Type.Boolean({ description: 'False where the weights are random.' }),
    notice: Type.Optional(Type.String({ description: 'What to know before using it.' })),
    unloadable: Type.Optional(
      Type.String({
        description:
          'Why it does not load or run here, so that its jobs fail. Not known where the workers are other processes.',
      }),
    ),
    digest: Sha256,
    bytes: Type.Integer({ description: 'Of all its files.' }),
    licence: Licence,
    provenance: Type.Array(Type.String()),
    family: Type.Enum(['dnd', 't2l'], {
      description: 'Of the generator: `dnd`, Drag-and-Drop LLMs; `t2l`, Text-to-LoRA.',
    }),
    takes: Type.Enum(['prompts', 'description'], {
      description:
        '`prompts`: unlabeled prompts of a task. `description`: one text that says what the task is, and `count` 1.',
    }),
    base: Type.Object({ id: Type.String(), architecture: Type.String() }),
    lora: Type.Object({
      rank: Type.Integer(),
      alpha: Type.Number(),
      rsLora: Type.Optional(
        Type.Boolean({ description: 'True where the adapter is scaled by alpha / √rank (`use_rslora`).' }),
      ),
      layers: Type.Integer(),
      targetModules: Type.Array(Type.String()),
    }),
    condition: Type.Object({
      prompts: Type.Integer({ description: 'N: texts that make a condition.' }),
      tokens: Type.Integer({ description: 'Most tokens of a text; prompts are padded or cut to it.' }),
      width: Type.Integer(),
    }),
    decoder: Type.Object({
      parameters: Type.Integer(),
      precision: Type.String(),
      multiplyAdds: Type.Integer({ description: 'Of one decode.' }),
      memoryBytes: Type.Integer({ description: 'Estimated need of one decode on a CPU, weights included.' }),
    }),
    evaluation: Type.Optional(Evaluation),
    urls: Type.Object({ self: Url }),
  },
  { $id: 'Model', description: 'A generator: what it takes and what its adapters are for.' },
);
/** See {@link Model}. */
export type Model = Static<typeof Model>;

/** All models. */
export const ModelList = Type.Object(
  {
    models: Type.Array(refTo(Model)),
    refused: Type.Array(Type.Object({ name: Type.String(), reason: Type.String() }), {
      description: 'Bundles that were found and cannot be used.',
    }),
  },
  { $id: 'ModelList', description: 'The models there are.' },
);

/** The path parameter of models; any text, since an unknown id is a 404. */
export const ModelParams = Type.Object({ id: Type.String({ minLength: 1, maxLength: 64 }) });

/** The answer of `/livez`. */
export const Liveness = Type.Object(
  { status: Type.Literal('alive') },
  { $id: 'Liveness', description: 'The process answers.' },
);

const readinessFields = {
  ready: Type.Boolean(),
  draining: Type.Boolean({ description: 'True once the service is stopping.' }),
  parts: Type.Record(
    Type.String(),
    Type.Object({ ready: Type.Boolean(), detail: Type.Optional(Type.String()) }),
    { description: 'What the service cannot do without: `queue`, `store`, `models`, `engine`.' },
  ),
  device: Type.Optional(
    Type.Object(
      { name: Type.String(), provider: Type.String(), threads: Type.Integer() },
      { description: 'Where inference runs.' },
    ),
  ),
};

/** The answer of `/readyz` when it is. */
export const ReadinessView = Type.Object(readinessFields, {
  $id: 'Readiness',
  description: 'Requests can be sent here.',
});

const used = (description: string) =>
  Type.Object(
    { used: Type.Integer(), limit: Type.Optional(Type.Integer({ description: 'Absent: no bound.' })) },
    { description },
  );

/** The answer of `/usage`. */
export const Usage = Type.Object(
  {
    tenant: Type.String({ pattern: TENANT_PATTERN }),
    key: Type.Optional(Type.String({ description: 'Name of the key; absent where none is needed.' })),
    scopes: Type.Array(Type.Enum([...SCOPES])),
    expiresAt: Type.Optional(Type.String({ format: 'date-time', description: 'When the key expires.' })),
    requests: Type.Object(
      {
        perSecond: Type.Optional(Type.Number({ description: 'On average.' })),
        burst: Type.Optional(Type.Integer({ description: 'At once.' })),
      },
      { description: 'What the key may send. The `RateLimit` header of every answer tells what is left.' },
    ),
    waitingJobs: used('Jobs of the tenant that wait. Beyond the limit new ones get 429.'),
    runningJobs: used('Jobs of the tenant that run. Beyond the limit they wait.'),
    adapters: used('Adapters in the store.'),
    files: used('Files uploaded under `/v1/files`.'),
    storedBytes: used('Bytes of the adapters’ files and of those that were uploaded.'),
  },
  { $id: 'Usage', description: 'What a tenant uses of what it may.' },
);

/** The answer of `/readyz` when it is not: a problem with the same members besides. */
export const UnreadinessDocument = Type.Object(
  { ...problemFields, instance: Type.String(), ...readinessFields },
  { $id: 'Unreadiness', description: 'Requests should be sent elsewhere.' },
);

/** Schemas that become components of the OpenAPI document. */
export const COMPONENTS: readonly TSchema[] = [
  ProblemDocument,
  JobError,
  ProblemExplanation,
  Timings,
  FileLinks,
  JobAdapterView,
  PromptSource,
  JobDestination,
  ...DEPLOYMENT_COMPONENTS,
  Job,
  JobProgressView,
  JobEventView,
  DeliveryView,
  DeliveryList,
  JobList,
  Adapter,
  Model,
  ModelList,
  Liveness,
  ReadinessView,
  UnreadinessDocument,
  Usage,
  PromptPreview,
  Norms,
];
