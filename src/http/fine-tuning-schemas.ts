/** OpenAI's fine-tuning jobs as schemas. Field names are OpenAI's; `webhook` is Loradrop's. */
import { type Static, type TSchema, Type } from 'typebox';
import { ID_PATTERN } from '../base/ids.ts';
import { MAX_SEED } from '../base/random.ts';
import { WEBHOOK_EVENTS } from '../webhooks/events.ts';
import { METADATA_LIMITS, refTo } from './schemas.ts';

const closed = { additionalProperties: false } as const;
const nullable = <T extends TSchema>(schema: T) => Type.Union([schema, Type.Null()]);
const Seconds = Type.Integer({ description: 'Seconds since the epoch.' });
const FileId = Type.String({ pattern: ID_PATTERN });

const Hyperparameter = Type.Union([
  Type.Number({ exclusiveMinimum: 0, maximum: 1_000_000 }),
  Type.Literal('auto'),
]);
const HYPERPARAMETERS = {
  n_epochs: Type.Optional(Hyperparameter),
  batch_size: Type.Optional(Hyperparameter),
  learning_rate_multiplier: Type.Optional(Hyperparameter),
};
const Hyperparameters = Type.Object(HYPERPARAMETERS, {
  ...closed,
  description: 'Taken, told back, and without effect: there are no gradient steps.',
});

/** The body that creates a job. What OpenAI has and is not done here is taken by the schema, so that its refusal can say so. */
export const FineTuningRequest = Type.Object(
  {
    model: Type.String({
      minLength: 1,
      maxLength: 300,
      description: 'A model of `GET /models`, or the base that one of them is for.',
    }),
    training_file: FileId,
    validation_file: Type.Optional(nullable(FileId)),
    suffix: Type.Optional(nullable(Type.String({ minLength: 1, maxLength: 64 }))),
    seed: Type.Optional(nullable(Type.Integer({ minimum: 0, maximum: MAX_SEED }))),
    metadata: Type.Optional(
      nullable(
        Type.Record(Type.String(), Type.String(), {
          description: `At most ${METADATA_LIMITS.entries} entries, keys of ${METADATA_LIMITS.keyChars} and values of ${METADATA_LIMITS.valueChars} characters.`,
        }),
      ),
    ),
    hyperparameters: Type.Optional(Hyperparameters),
    method: Type.Optional(
      Type.Object(
        {
          type: Type.Enum(['supervised', 'dpo', 'reinforcement'], {
            description: 'Only `supervised` is done.',
          }),
          supervised: Type.Optional(Type.Object({ hyperparameters: Type.Optional(Hyperparameters) }, closed)),
          dpo: Type.Optional(Type.Object({}, { additionalProperties: true })),
          reinforcement: Type.Optional(Type.Object({}, { additionalProperties: true })),
        },
        closed,
      ),
    ),
    integrations: Type.Optional(
      nullable(
        Type.Array(Type.Object({}, { additionalProperties: true }), {
          maxItems: 16,
          description: 'None is done.',
        }),
      ),
    ),
    webhook: Type.Optional(
      Type.Object(
        { url: Type.String(), events: Type.Optional(Type.Array(Type.Enum([...WEBHOOK_EVENTS]))) },
        {
          ...closed,
          description:
            'Loradrop’s own: who is told of the job, as in `POST /generate`. Default events: `fine_tuning.job.succeeded`, `.failed` and `.cancelled`, in OpenAI’s shape.',
        },
      ),
    ),
  },
  {
    ...closed,
    examples: [
      { model: 'HuggingFaceTB/SmolLM2-135M-Instruct', training_file: 'file-abc123', suffix: 'science' },
    ],
  },
);
/** See {@link FineTuningRequest}. */
export type FineTuningRequest = Static<typeof FineTuningRequest>;

/** The path parameter of jobs. */
export const FineTuningParams = Type.Object({ id: Type.String({ pattern: ID_PATTERN }) });

const PAGE = {
  after: Type.Optional(
    Type.String({ pattern: ID_PATTERN, description: 'Id of the last item of the page before.' }),
  ),
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 100, default: 20 })),
};
/** Page of the events or checkpoints of a job. */
export const PartsQuery = Type.Object(PAGE, closed);
/** Page of the listing of jobs. */
export const FineTuningListQuery = Type.Object(PAGE, {
  ...closed,
  patternProperties: {
    '^metadata\\[[^\\]]{1,64}\\]$': Type.String({ maxLength: METADATA_LIMITS.valueChars }),
  },
  description: '`metadata[key]=value` takes jobs with this entry alone.',
});

/** A fine-tuning job. */
export const FineTuningJob = Type.Object(
  {
    object: Type.Literal('fine_tuning.job'),
    id: Type.String(),
    created_at: Seconds,
    finished_at: nullable(Seconds),
    model: Type.String({ description: 'As the request named it.' }),
    fine_tuned_model: nullable(
      Type.String({
        description:
          'Once the job has succeeded: the adapter’s id, which is a `model` of `/v1/chat/completions`, a repository of the Hub view with the tenant before it, and a name for model servers.',
      }),
    ),
    organization_id: Type.String(),
    status: Type.Enum(['queued', 'running', 'succeeded', 'failed', 'cancelled']),
    error: nullable(
      Type.Object({ code: Type.String(), message: Type.String(), param: nullable(Type.String()) }),
    ),
    training_file: Type.String(),
    validation_file: nullable(Type.String()),
    result_files: Type.Array(Type.String(), {
      description: 'The adapter: weights, configuration, and GGUF where the base has one.',
    }),
    hyperparameters: Type.Object(HYPERPARAMETERS),
    method: Type.Object({
      type: Type.Literal('supervised'),
      supervised: Type.Object({ hyperparameters: Type.Object(HYPERPARAMETERS) }),
    }),
    seed: Type.Integer(),
    trained_tokens: Type.Null({ description: 'Nothing is trained.' }),
    estimated_finish: Type.Null(),
    integrations: Type.Array(Type.Object({}), { maxItems: 0 }),
    metadata: nullable(Type.Record(Type.String(), Type.String())),
    user_provided_suffix: nullable(Type.String()),
  },
  { $id: 'FineTuningJob', description: 'A generation in the shape of OpenAI’s fine-tuning jobs.' },
);

/** An event of a job. */
export const FineTuningEvent = Type.Object(
  {
    object: Type.Literal('fine_tuning.job.event'),
    id: Type.String(),
    created_at: Seconds,
    level: Type.Enum(['info', 'warn', 'error']),
    message: Type.String(),
    type: Type.Enum(['message', 'metrics']),
    data: Type.Object({}, { additionalProperties: true }),
  },
  { $id: 'FineTuningEvent', description: 'What a job did.' },
);

/** A checkpoint of a job. */
export const FineTuningCheckpoint = Type.Object(
  {
    object: Type.Literal('fine_tuning.job.checkpoint'),
    id: Type.String(),
    created_at: Seconds,
    fine_tuned_model_checkpoint: Type.String(),
    fine_tuning_job_id: Type.String(),
    step_number: Type.Literal(0, { description: 'There are no steps.' }),
    metrics: Type.Object(
      { step: Type.Literal(0), full_valid_loss: Type.Optional(Type.Number()) },
      {
        additionalProperties: true,
        description: 'Those of the validation, where there was one; `base_full_valid_loss` is the base’s.',
      },
    ),
  },
  { $id: 'FineTuningCheckpoint', description: 'The adapter of a job that has succeeded.' },
);

const listOf = (schema: TSchema, $id: string, description: string) =>
  Type.Object(
    { object: Type.Literal('list'), data: Type.Array(refTo(schema)), has_more: Type.Boolean() },
    { $id, description },
  );
/** Pages of each, the newest first. */
export const FineTuningJobList = listOf(FineTuningJob, 'FineTuningJobList', 'Jobs, the newest first.');
export const FineTuningEventList = listOf(
  FineTuningEvent,
  'FineTuningEventList',
  'Events, the newest first.',
);
export const FineTuningCheckpointList = listOf(
  FineTuningCheckpoint,
  'FineTuningCheckpointList',
  'One checkpoint, or none.',
);

/** Schemas of this file that become components of the OpenAPI document. */
export const FINE_TUNING_COMPONENTS: readonly TSchema[] = [
  FineTuningJob,
  FineTuningEvent,
  FineTuningCheckpoint,
  FineTuningJobList,
  FineTuningEventList,
  FineTuningCheckpointList,
];
