/**
 * Every job there is: its payload, how often it is tried and how it is timed. Queues and workers are made from this
 * table, and start-up fails when a job has no handler (see workers.ts).
 */
import { type Static, Type } from 'typebox';
import { KEEPS, TransformStep } from '../arithmetic/steps.ts';
import { DTYPES } from '../base/dtype.ts';
import { ID_PATTERN, NAME_PATTERN } from '../base/ids.ts';
import { MAX_SEED } from '../base/random.ts';
import { WEBHOOK_EVENTS } from '../webhooks/events.ts';

/** A receiver of a job's events, as it was when the job was accepted. */
const Webhook = Type.Object(
  {
    url: Type.String(),
    events: Type.Array(Type.Enum([...WEBHOOK_EVENTS])),
    /** It is the operator's, who hears of every job; else the request named it. */
    operator: Type.Optional(Type.Literal(true)),
  },
  { additionalProperties: false },
);
/** See {@link Webhook}. */
export type Webhook = Static<typeof Webhook>;

/** A place in object storage to which a job's adapters are copied. */
const Destination = Type.Object(
  {
    type: Type.Literal('s3'),
    bucket: Type.String(),
    /** Without a slash at either end; empty for the whole bucket. */
    prefix: Type.String(),
  },
  { additionalProperties: false },
);
/** See {@link Destination}. */
export type Destination = Static<typeof Destination>;

/** A group of model servers that a job's adapters are handed over to. */
const Deploy = Type.Object(
  {
    target: Type.String(),
    /** What successive adapters are called there; without it the adapter's id. */
    name: Type.Optional(Type.String({ pattern: NAME_PATTERN })),
  },
  { additionalProperties: false },
);
/** See {@link Deploy}. */
export type Deploy = Static<typeof Deploy>;

/** What a generation was asked for as a fine-tuning job, beside what any generation has. */
const FineTuning = Type.Object(
  {
    /** As the request named it. */
    model: Type.String(),
    baseModel: Type.String(),
    trainingFile: Type.String({ pattern: ID_PATTERN }),
    validationFile: Type.Optional(Type.String({ pattern: ID_PATTERN })),
    suffix: Type.Optional(Type.String()),
    /** Told back, and without effect. */
    hyperparameters: Type.Record(Type.String(), Type.Union([Type.Number(), Type.String()])),
    /** What the training file holds beside its prompts; see `TrainingCounts`. Absent where it could not be read. */
    counts: Type.Optional(
      Type.Object({
        promptsFrom: Type.Enum(['user', 'system']),
        rows: Type.Integer(),
        answers: Type.Integer(),
        unweighted: Type.Integer(),
        systems: Type.Integer(),
        tools: Type.Integer(),
        withoutPrompt: Type.Integer(),
      }),
    ),
    /** Which file cannot be used, and why: the job fails with it. */
    refusal: Type.Optional(
      Type.Object({ file: Type.Enum(['training_file', 'validation_file']), detail: Type.String() }),
    ),
  },
  { additionalProperties: false },
);
/** See {@link FineTuning}. */
export type FineTuning = Static<typeof FineTuning>;

/** What adapters are kept as: `gguf` is a file of its own beside the safetensors. */
export const ADAPTER_FORMATS = ['safetensors', 'gguf'] as const;

/** What a generation needs, complete: prompts are drawn at acceptance, so a retry never draws anew. */
export const GeneratePayload = Type.Object(
  {
    /** Bundle id and digest at acceptance: a worker without that very bundle leaves the job to others. */
    model: Type.String(),
    bundleDigest: Type.String(),
    /** The distinct prompts that were drawn. */
    prompts: Type.Array(Type.String()),
    /** For each adapter, N indices into `prompts`, in the order that enters the condition. */
    draws: Type.Array(Type.Array(Type.Integer({ minimum: 0 }))),
    /** Where the request's prompts were found. Absent in jobs of versions that did not keep it. */
    promptSource: Type.Optional(
      Type.Object({
        format: Type.String(),
        field: Type.Optional(Type.String()),
        rows: Type.Integer({ minimum: 0 }),
        distinct: Type.Integer({ minimum: 0 }),
      }),
    ),
    /** Ids of the adapters, one a draw unless one is kept of all; known before the work starts so that their addresses can be given out. */
    adapterIds: Type.Array(Type.String({ pattern: ID_PATTERN })),
    /** Adapters of the same tenant that one is made from, in place of prompts. */
    sources: Type.Optional(
      Type.Array(Type.Object({ id: Type.String({ pattern: ID_PATTERN }), weight: Type.Number() })),
    ),
    /** What is done with the sum of the sources, or with each adapter that was generated. */
    transform: Type.Optional(Type.Array(TransformStep)),
    /** One adapter comes of all draws. */
    keep: Type.Optional(Type.Enum([...KEEPS])),
    /** Ids of the adapters that are made on the way, one a draw, and removed in the end. */
    sampleIds: Type.Optional(Type.Array(Type.String({ pattern: ID_PATTERN }))),
    seed: Type.Integer({ minimum: 0, maximum: MAX_SEED }),
    dtype: Type.Enum([...DTYPES]),
    /** Absent: safetensors alone. */
    format: Type.Optional(Type.Enum([...ADAPTER_FORMATS])),
    name: Type.Optional(Type.String()),
    /** Name that is to stand for the one adapter once it is there. */
    setName: Type.Optional(Type.String({ pattern: NAME_PATTERN })),
    metadata: Type.Optional(Type.Record(Type.String(), Type.String())),
    warnings: Type.Array(Type.String()),
    /** Milliseconds since the epoch. */
    acceptedAt: Type.Integer(),
    deadlineAt: Type.Optional(Type.Integer()),
    retentionSeconds: Type.Integer({ minimum: 1 }),
    /** 0 (background) … 9 (urgent). */
    priority: Type.Integer({ minimum: 0, maximum: 9 }),
    /** Digest of the request as the client sent it, so that one id or key cannot stand for two requests. */
    fingerprint: Type.String(),
    requestId: Type.Optional(Type.String()),
    /** The job shows links to its files that work without a key. */
    presign: Type.Optional(Type.Literal(true)),
    /** Who is told of the job. */
    webhooks: Type.Optional(Type.Array(Webhook)),
    /** Where the adapters are copied once the job has succeeded. */
    destination: Type.Optional(Destination),
    /** Model servers that the adapters are handed over to once the job has succeeded. */
    deploy: Type.Optional(Type.Array(Deploy)),
    /** The job was asked for as OpenAI's API has it. */
    fineTuning: Type.Optional(FineTuning),
  },
  { additionalProperties: false },
);
export type GeneratePayload = Static<typeof GeneratePayload>;

/** One message to one receiver, complete: what it says was fixed when the event was seen, so that retries say the same. */
export const WebhookPayload = Type.Object(
  {
    /** The generation job it is about; its tenant is the delivery's. */
    jobId: Type.String({ pattern: ID_PATTERN }),
    jobAcceptedAt: Type.Integer(),
    /** Index into the `webhooks` of the job. */
    webhook: Type.Integer({ minimum: 0 }),
    event: Type.Enum([...WEBHOOK_EVENTS]),
    /** How far the job was. */
    fraction: Type.Number(),
    url: Type.String(),
    operator: Type.Optional(Type.Literal(true)),
    /** The same in every attempt, so that a receiver can tell a repetition. */
    messageId: Type.String(),
    body: Type.String(),
    /** When the message was made, in milliseconds since the epoch. */
    createdAt: Type.Integer(),
  },
  { additionalProperties: false },
);
export type WebhookPayload = Static<typeof WebhookPayload>;

/** A copy of all adapters of a job to its destination. */
export const CopyPayload = Type.Object(
  {
    /** The generation job; its tenant is the copy's. */
    jobId: Type.String({ pattern: ID_PATTERN }),
    jobAcceptedAt: Type.Integer(),
    adapterIds: Type.Array(Type.String({ pattern: ID_PATTERN })),
    destination: Destination,
    /** It is given up at the first failure after this, in milliseconds since the epoch. */
    giveUpAt: Type.Integer(),
  },
  { additionalProperties: false },
);
export type CopyPayload = Static<typeof CopyPayload>;

/** One adapter at one deploy target: its job loads it on every replica, and later unloads it. */
export const DeployPayload = Type.Object(
  {
    adapterId: Type.String({ pattern: ID_PATTERN }),
    /** See `commitOf`. */
    commit: Type.String({ pattern: '^[0-9a-f]{40}$' }),
    target: Type.String(),
    name: Type.Optional(Type.String({ pattern: NAME_PATTERN })),
    servedName: Type.String(),
    base: Type.String(),
    rank: Type.Integer({ minimum: 1 }),
    gguf: Type.Boolean(),
    /** When the adapter expires; times in milliseconds since the epoch. */
    expiresAt: Type.Integer(),
    acceptedAt: Type.Integer(),
  },
  { additionalProperties: false },
);
export type DeployPayload = Static<typeof DeployPayload>;

/** The validation of a fine-tuning job's adapter: its base is scored on labelled rows, alone and with the adapter. */
export const ValidatePayload = Type.Object(
  {
    /** The generation job; its tenant is the validation's. */
    jobId: Type.String({ pattern: ID_PATTERN }),
    jobAcceptedAt: Type.Integer(),
    adapterId: Type.String({ pattern: ID_PATTERN }),
    /** Id of the file of labelled rows. */
    file: Type.String({ pattern: ID_PATTERN }),
    base: Type.String(),
    seed: Type.Integer({ minimum: 0, maximum: MAX_SEED }),
  },
  { additionalProperties: false },
);
export type ValidatePayload = Static<typeof ValidatePayload>;

/** Compares what model servers have with what they should have. */
export const ReconcilePayload = Type.Object({}, { additionalProperties: false });

/** Looks after jobs that something follows on, a message or a copy, where a process ended before it did. */
export const NotifyPayload = Type.Object({}, { additionalProperties: false });

/** Removes adapters and job records past their retention. */
export const ExpirePayload = Type.Object({}, { additionalProperties: false });

/** How a job is tried. */
export type JobTiming = {
  /** Runs in total before a retryable failure becomes final. */
  readonly attempts: number;
  /** First wait between runs; doubles each time, with jitter. */
  readonly backoffMs: number;
  /** Runs by itself this often, once in the whole fleet. */
  readonly everyMs?: number;
  /** Tenants take turns with it. */
  readonly turns?: true;
};

/** The catalogue: name → payload and timing. Add a job here first. */
export const JOB_CATALOG = {
  generate: { payload: GeneratePayload, timing: { attempts: 4, backoffMs: 500, turns: true } },
  // A receiver's failures are the handler's to count; these attempts are for failures of our own.
  webhook: { payload: WebhookPayload, timing: { attempts: 20, backoffMs: 1000 } },
  // The same holds for a destination's failures.
  copy: { payload: CopyPayload, timing: { attempts: 20, backoffMs: 1000 } },
  // And for a model server's.
  deploy: { payload: DeployPayload, timing: { attempts: 20, backoffMs: 1000 } },
  // What a validation comes to is a result; these attempts are for failures of our own.
  validate: { payload: ValidatePayload, timing: { attempts: 4, backoffMs: 1000 } },
  reconcile: { payload: ReconcilePayload, timing: { attempts: 1, backoffMs: 1000, everyMs: 15_000 } },
  notify: { payload: NotifyPayload, timing: { attempts: 1, backoffMs: 1000, everyMs: 5000 } },
  expire: { payload: ExpirePayload, timing: { attempts: 1, backoffMs: 1000, everyMs: 60_000 } },
} as const satisfies Record<string, { payload: unknown; timing: JobTiming }>;

/** A job's name. */
export type JobName = keyof typeof JOB_CATALOG;
/** A job's payload by name. */
export type JobPayload<N extends JobName> = Static<(typeof JOB_CATALOG)[N]['payload']>;
