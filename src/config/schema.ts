/**
 * Every setting of the service, once: default, range and a sentence why. The environment variable, the command-line flag,
 * `.env.example`, `--help` and the table in `docs/settings.md` all come from here (see docs.ts).
 */
import { type Static, type TProperties, Type } from 'typebox';

/** What a setting says about itself beyond JSON Schema. */
type About = {
  readonly description: string;
  /** Never shown: not in logs, not in `loradrop config`. */
  readonly secret?: true;
};

const MiB = 1024 * 1024;
const day = 86_400;

const text = (about: About, options: { default?: string; pattern?: string } = {}) =>
  Type.String({ minLength: 1, ...options, ...about });
const whole = (about: About, bounds: { default: number; minimum: number; maximum: number }) =>
  Type.Integer({ ...bounds, ...about });
const flag = (about: About, fallback: boolean) => Type.Boolean({ default: fallback, ...about });

/** A bound that a key of its own may replace; 0 stands for none. */
const limit = (description: string, maximum: number) =>
  whole(
    { description: `${description} 0: no bound. A key may have its own.` },
    { default: 0, minimum: 0, maximum },
  );

/** The settings by group, in the order people read them. */
export const SETTINGS = {
  'Where things are': {
    host: text(
      {
        description:
          'Address to listen on. Loopback by default; any other one needs API keys, or `AUTH=off`.',
      },
      { default: '127.0.0.1' },
    ),
    port: whole(
      { description: 'Port to listen on; 0 takes a free one.' },
      { default: 8080, minimum: 0, maximum: 65_535 },
    ),
    dataDir: text(
      { description: 'Directory of everything the service keeps on this machine.' },
      { default: 'data' },
    ),
    bundlesDir: Type.Optional(
      text({
        description:
          'Directory whose subdirectories are bundles. Default: `bundles` in the data directory. Without a bundle in it, the one that comes with Loradrop is served.',
      }),
    ),
    defaultModel: Type.Optional(
      text({
        description: 'Bundle id for requests that name no `model`. Default: the only bundle there is.',
      }),
    ),
    queueUrl: Type.Optional(
      text({
        description:
          'Unset: an embedded queue in the data directory. `redis://`, `rediss://`, `redis+sentinel://`, `redis+cluster://` or `postgres://`: a queue that several processes share.',
        secret: true,
      }),
    ),
    storeUrl: Type.Optional(
      text({
        description:
          'Where finished adapters go: a directory, a `file://` URL, or `s3://bucket/prefix` in a bucket that exists. Default: `store` in the data directory. Files of `/v1/files` lie below it in `files`.',
      }),
    ),
  },
  'Trying adapters': {
    basesDir: Type.Optional(
      text({
        description:
          'Directory of base models as GGUF files, which `/v1/chat/completions` and the console ask with and without adapters. A file is the base that `NAME.gguf.json` beside it names (`{"base": "owner/name"}`), else the one with the file’s name. Default: `bases` in the data directory. Without a file nothing can be asked.',
      }),
    ),
    chatConcurrency: whole(
      { description: 'Questions that base models answer at a time; further ones get 429.' },
      { default: 2, minimum: 1, maximum: 16 },
    ),
    chatTenantConcurrency: whole(
      {
        description:
          'How many of these may be of one tenant; further ones get 429. 0: where there are API keys all but one, so that no tenant takes every place, and at least one; without keys there is one tenant, and it may take all.',
      },
      { default: 0, minimum: 0, maximum: 16 },
    ),
    chatThreads: whole(
      {
        description:
          'Threads for one question. 0 takes half of what the process may use: llama.cpp’s threads wait for each other by spinning, and with one thread too many on a busy machine an answer takes thirty times as long.',
      },
      { default: 0, minimum: 0, maximum: 256 },
    ),
    chatContextTokens: whole(
      { description: 'Most tokens of a conversation with its answer; a base with less takes less.' },
      { default: 4096, minimum: 64, maximum: 131_072 },
    ),
    chatIdleSeconds: whole(
      { description: 'How long the process with the base stays in memory after the last answer.' },
      { default: 600, minimum: 1, maximum: day },
    ),
  },
  'Fine-tuning as OpenAI’s API has it': {
    fineTuningAliases: Type.Optional(
      text({
        description:
          'What `/v1/fine_tuning/jobs` takes as `model` besides models and their bases, `NAME=MODEL` separated by commas: `gpt-4o-mini-2024-07-18=my-model`, so that scripts run as they are. The job’s events say what the name stands for. Unset: none.',
      }),
    ),
    maxFileBytes: whole(
      {
        description:
          'Largest file that `/v1/files` takes: room for a hundred thousand short rows, and small enough that a few are read at once.',
      },
      { default: 32 * MiB, minimum: 1024, maximum: 512 * MiB },
    ),
  },
  'Object storage': {
    s3ForcePathStyle: flag(
      {
        description:
          'The bucket is part of the path, not of the host name; most servers other than AWS want that. Endpoint, region and credentials are the AWS SDK’s own: `AWS_ENDPOINT_URL_S3`, `AWS_REGION`, `AWS_ACCESS_KEY_ID` …, instance roles, web identity.',
      },
      false,
    ),
    s3Encryption: Type.Optional(
      Type.Enum(['AES256', 'aws:kms'], {
        description:
          'Server-side encryption that every object asks for. Default: what the bucket does by itself, since servers without keys refuse such requests.',
      }),
    ),
    s3KmsKeyId: Type.Optional(text({ description: 'Key for `S3_ENCRYPTION=aws:kms`.' })),
    s3PartBytes: whole(
      { description: 'Bytes of one part of an upload; an adapter has at most 10,000.' },
      { default: 8 * MiB, minimum: 5 * MiB, maximum: 1024 * MiB },
    ),
    s3PartsInFlight: whole(
      {
        description:
          'Parts of one file on their way at once. A job that writes takes `S3_PART_BYTES` × (this + 1) of memory at most.',
      },
      { default: 4, minimum: 1, maximum: 64 },
    ),
    s3AllowUnconditionalWrites: flag(
      {
        description:
          'Starts although the server ignores `If-None-Match: *`, without which two workers can mix their files of one job.',
      },
      false,
    ),
    destinations: Type.Optional(
      text({
        description:
          'Places that requests may have adapters copied to, separated by spaces: `[tenant=]s3://bucket[/prefix]`, with all below them. Without a tenant: the tenant `default`; `*=` for every tenant, each below the prefix and its own name. `?endpoint=`, `region=`, `profile=` (of the AWS configuration files, with credentials) and `pathStyle=` where a server is not that of the `AWS_*` variables. Unset: none.',
      }),
    ),
    copyConcurrency: whole(
      {
        description:
          'Copies to destinations a worker makes at once. One that is streamed takes as much memory as a job that writes.',
      },
      { default: 2, minimum: 1, maximum: 256 },
    ),
  },
  'Model servers': {
    deployTargetsFile: Type.Optional(
      text({
        description:
          'File of deploy targets, JSON: groups of model servers that requests may have adapters loaded on (docs/serving.md). API and workers read it when they start. Unset: none.',
      }),
    ),
    deployConcurrency: whole(
      {
        description:
          'Deployments a worker looks after at once. Each calls all replicas of its target at the same time.',
      },
      { default: 4, minimum: 1, maximum: 256 },
    ),
  },
  'Who may ask': {
    auth: Type.Enum(['auto', 'off'], {
      default: 'auto',
      description:
        '`auto`: every request needs an API key once there is one; without any, the service runs on loopback addresses alone. `off`: everybody who can reach it may do everything.',
    }),
    apiKeysFile: Type.Optional(
      text({
        description:
          'File of API keys, as `loradrop keys` writes it; read again when it changes, so a mounted Secret will do. Default: `keys.json` in the data directory.',
      }),
    ),
    metricsNeedKey: flag(
      {
        description:
          '`/metrics` needs a key with the scope `admin`. Off, since scrapers reach it by a network of their own as a rule.',
      },
      false,
    ),
    keyRequestsPerSecond: limit('Requests a second from one key, on average.', 100_000),
    keyRequestBurst: limit('Requests from one key at once. 0 takes those of one second.', 1_000_000),
    tenantWaitingJobs: limit('Jobs of one tenant that may wait; beyond it new ones get 429.', 1_000_000),
    tenantRunningJobs: limit('Jobs of one tenant that run at once; further ones wait.', 100_000),
    tenantAdapters: limit('Adapters of one tenant in the store; beyond it new jobs get 429.', 100_000_000),
    tenantStoredBytes: limit(
      'Bytes of one tenant in the store; beyond it new jobs get 429.',
      Number.MAX_SAFE_INTEGER,
    ),
  },
  'The front door': {
    allowedHosts: Type.Optional(
      text({
        description:
          'Host names that requests may be addressed to, comma separated: `api.example.org`, `*.example.org`, or `*` for all; loopback names and the address that the connection came to always count. Unset: on loopback without keys loopback names alone, since a web page can make its own name resolve to this machine; elsewhere all.',
      }),
    ),
    trustProxy: Type.Optional(
      text({
        description:
          'Proxies whose `X-Forwarded-For`, `-Host` and `-Proto` are believed: addresses and networks, comma separated (`10.0.0.0/8`, `loopback`, `linklocal`, `uniquelocal`), or the number of proxies that every request passes. A number is safe only where clients cannot reach the port past them. Unset: none.',
      }),
    ),
    maxConnections: whole(
      {
        description:
          'Connections open at once; keep it below the limit of open files. Beyond it the connection idle longest is closed for a new one, and when requests take all but a reserve, only probes are answered.',
      },
      { default: 4096, minimum: 16, maximum: 1_000_000 },
    ),
    headersTimeoutMs: whole(
      {
        description:
          'How long a client may take to send the headers of a request: seconds over the slowest line, and clients that stall on purpose are cut off.',
      },
      { default: 15_000, minimum: 100, maximum: 600_000 },
    ),
    requestTimeoutMs: whole(
      {
        description:
          'How long a whole request may take to arrive: enough for the largest body at 140 kB/s, short for one that stalls on purpose.',
      },
      { default: 120_000, minimum: 100, maximum: 3_600_000 },
    ),
    keepAliveMs: whole(
      {
        description:
          'How long a connection may stay without a request: longer than the 60 s for which common load balancers use one again, so that they and not the service close it.',
      },
      { default: 75_000, minimum: 100, maximum: 3_600_000 },
    ),
  },
  Links: {
    presign: flag(
      {
        description:
          'Jobs and adapters show links to their files that need no key, unless a request says `presign: false`.',
      },
      false,
    ),
    linkSeconds: whole(
      {
        description:
          'How long such a link works, its adapter’s retention allowing; seven days are what object storage gives at most. Links of object storage end with the service’s own credentials, too, where those are temporary.',
      },
      { default: 3600, minimum: 1, maximum: 7 * day },
    ),
    linkSecret: Type.Optional(
      text(
        {
          description:
            'Signs links to files of a local store (object storage signs its own): 32 characters or more, the same for every process of a service. Another one ends all links. Default: made at the first start and kept in `link-secret` in the data directory; with `QUEUE_URL`, which several processes share, there is none and no links.',
          secret: true,
        },
        { pattern: '^.{32,}$' },
      ),
    ),
    publicUrl: Type.Optional(
      text({
        description:
          'Where clients reach the service (`https://loradrop.example.org`), for links of its own: receivers of webhooks cannot know it. Unset: these links are relative, like all other addresses.',
      }),
    ),
  },
  Webhooks: {
    webhookAllow: text(
      {
        description:
          'Host names, addresses and networks (`hooks.internal, 10.1.0.0/16`) that webhooks may go to besides public ones, by http and on any port too. Names that need the hosts file or a search domain have to be listed by name. `none`: no others.',
      },
      { default: 'none' },
    ),
    webhookPorts: text(
      {
        description:
          'Ports of public receivers. Few, so that webhooks cannot be made to speak to other services.',
      },
      { default: '443,8443', pattern: '^[0-9]{1,5}(,[0-9]{1,5})*$' },
    ),
    webhookEndpoints: Type.Optional(
      text({
        description:
          'Addresses, separated by spaces, that are told of every job of every tenant; signed with the secret of `loradrop webhooks secret create --operator`.',
        secret: true,
      }),
    ),
    webhookEndpointEvents: text(
      { description: 'Events that `WEBHOOK_ENDPOINTS` are told of, separated by commas.' },
      { default: 'job.succeeded,job.failed,job.canceled' },
    ),
    webhookSecretsFile: Type.Optional(
      text({
        description:
          'File of the secrets that webhooks are signed with, as `loradrop webhooks secret` writes it; read again when it changes. Default: `webhook-secrets.json` in the data directory.',
      }),
    ),
    webhookConcurrency: whole(
      {
        description:
          'Deliveries a worker attempts at once. Half of them are kept for receivers that answer quickly.',
      },
      { default: 32, minimum: 2, maximum: 1024 },
    ),
  },
  'Models from elsewhere': {
    bundles: Type.Optional(
      text({
        description:
          'Bundles that `models pull` fetches where it is given no address, separated by spaces: `hf://owner/name@revision`, `https://host/directory`, `s3://bucket/prefix` or a directory, each with `@sha256:DIGEST` to take that very bundle and no other.',
      }),
    ),
    supersededBundles: Type.Optional(
      text({
        description:
          'The same for earlier versions of them, which take no new jobs and finish those that were accepted for them.',
      }),
    ),
    bundleCacheDir: Type.Optional(
      text({
        description:
          'Directory in which `models pull` keeps bundles by digest, and which several machines may share. Default: `.cache` in the bundles directory.',
      }),
    ),
    hfEndpoint: text(
      { description: 'The Hugging Face Hub, or another server that answers like it, for `models pull`.' },
      { default: 'https://huggingface.co' },
    ),
    hfToken: Type.Optional(
      text({
        description: 'Opens private and gated repositories; sent to `HF_ENDPOINT` alone.',
        secret: true,
      }),
    ),
  },
  Inference: {
    device: text(
      {
        description:
          '`cpu`, `cuda`, `cuda:N`, or `auto`: CUDA where it works, else CPU. `cuda` never falls back in silence.',
      },
      { default: 'auto', pattern: '^(auto|cpu|cuda(:[0-9]{1,2})?)$' },
    ),
    threads: whole(
      { description: 'Threads for one operator; 0 follows the CPUs this process may use (cgroup included).' },
      { default: 0, minimum: 0, maximum: 1024 },
    ),
    encodeTokenBudget: whole(
      {
        description:
          'Tokens in one pass of the encoder. On a CPU larger passes only take more memory; a GPU may be used better by them.',
      },
      { default: 4096, minimum: 64, maximum: 4_194_304 },
    ),
    batchWaitMs: whole(
      { description: 'Longest wait for further jobs of the same bundle before a micro-batch starts.' },
      { default: 5, minimum: 0, maximum: 10_000 },
    ),
    promptCacheBytes: whole(
      { description: 'Bytes of prompt embeddings kept, so that a prompt seen before is not encoded again.' },
      { default: 256 * MiB, minimum: 0, maximum: 1024 * 1024 * MiB },
    ),
    memoryLimitBytes: whole(
      {
        description:
          'Memory the inference process may take; a bundle whose estimate goes beyond it is not loaded. 0 follows what the machine and its cgroup have left.',
      },
      { default: 0, minimum: 0, maximum: 1024 * 1024 * 1024 * MiB },
    ),
    cancelGraceMs: whole(
      {
        description:
          'How long canceled work may take to stop between stages before its process is killed and replaced.',
      },
      { default: 2000, minimum: 0, maximum: 600_000 },
    ),
  },
  Jobs: {
    concurrency: whole(
      {
        description:
          'Jobs a worker holds at once. More than one lets micro-batches form while another job writes.',
      },
      { default: 4, minimum: 1, maximum: 256 },
    ),
    heldResultBytes: whole(
      {
        description:
          'Memory in which a worker keeps adapters until they are stored, so that those decoded before the store was full or away are written once it is back. What does not fit is decoded again. 0: nothing is kept.',
      },
      { default: 256 * MiB, minimum: 0, maximum: 1024 * 1024 * MiB },
    ),
    jobLockMs: whole(
      {
        description:
          'A worker that has not renewed its hold for this long is taken for dead and its job is done again.',
      },
      { default: 15_000, minimum: 2000, maximum: 600_000 },
    ),
    maxQueued: whole(
      {
        description:
          'Jobs that may wait; beyond it new ones get 429, since a longer queue only makes every client wait.',
      },
      { default: 1000, minimum: 1, maximum: 1_000_000 },
    ),
    retentionSeconds: whole(
      { description: 'How long adapters and job records are kept unless a request says otherwise.' },
      { default: 7 * day, minimum: 1, maximum: 3650 * day },
    ),
    maxRetentionSeconds: whole(
      { description: 'Longest retention a request may ask for.' },
      { default: 90 * day, minimum: 1, maximum: 3650 * day },
    ),
    maxDeadlineSeconds: whole(
      { description: 'Longest deadline a request may set.' },
      { default: day, minimum: 1, maximum: 30 * day },
    ),
    drainSeconds: whole(
      {
        description: 'On SIGTERM, how long running jobs may finish before they are handed back to the queue.',
      },
      { default: 25, minimum: 0, maximum: 3600 },
    ),
  },
  'Limits on requests': {
    maxBodyBytes: whole(
      {
        description:
          'Largest request body; room for thousands of prompts, and small enough that a flood of them fits in memory.',
      },
      { default: 16 * MiB, minimum: 1024, maximum: 1024 * MiB },
    ),
    maxPrompts: whole(
      {
        description:
          'Prompts in one request. A condition uses at most a few hundred; more only make the draw wider.',
      },
      { default: 20_000, minimum: 1, maximum: 1_000_000 },
    ),
    maxPromptChars: whole(
      {
        description:
          'Characters of one prompt. Encoders truncate at a few thousand, so longer text would be dropped unseen.',
      },
      { default: 131_072, minimum: 1, maximum: 16 * MiB },
    ),
    maxCount: whole(
      { description: 'Adapters sampled from one request.' },
      { default: 32, minimum: 1, maximum: 1000 },
    ),
    maxWaitSeconds: whole(
      { description: 'Longest a request is held open for its result (`Prefer: wait`, streamed adapters).' },
      { default: 300, minimum: 0, maximum: 3600 },
    ),
  },
  Observability: {
    logLevel: Type.Enum(['trace', 'debug', 'info', 'warn', 'error', 'silent'], {
      default: 'info',
      description: 'Least severe log line that is written.',
    }),
    logPrompts: flag(
      { description: 'Writes prompt text to the log. Off, since prompts are often private.' },
      false,
    ),
    metricsTenants: whole(
      {
        description:
          'Tenants with metrics of their own, the first ones that a process sees; all others are counted together, since every name is kept as several time series.',
      },
      { default: 50, minimum: 0, maximum: 10_000 },
    ),
  },
  Traces: {
    otelExporterOtlpEndpoint: Type.Optional(
      text({
        description:
          'Collector that traces are sent to by OTLP over HTTP, `http://collector:4318`. Unset: no traces, and nothing of OpenTelemetry is loaded. The exporter’s `OTEL_EXPORTER_OTLP_HEADERS`, `_TIMEOUT`, `_COMPRESSION`, `_CERTIFICATE` and `OTEL_RESOURCE_ATTRIBUTES` hold too.',
      }),
    ),
    otelExporterOtlpTracesEndpoint: Type.Optional(
      text({ description: 'The same as a whole address, path included; goes before the one above.' }),
    ),
    otelServiceName: text({ description: 'Name of the service in traces.' }, { default: 'loradrop' }),
    otelTracesSampler: Type.Enum(
      [
        'always_on',
        'always_off',
        'traceidratio',
        'parentbased_always_on',
        'parentbased_always_off',
        'parentbased_traceidratio',
      ],
      {
        default: 'parentbased_always_on',
        description:
          'Which traces are kept. `parentbased_…`: a request that is in a trace already follows its sender’s decision.',
      },
    ),
    otelTracesSamplerArg: Type.Number({
      default: 1,
      minimum: 0,
      maximum: 1,
      description: 'Share of traces that the samplers with `traceidratio` keep.',
    }),
    otelSdkDisabled: flag({ description: 'Turns traces off whatever else is set.' }, false),
  },
} as const satisfies Record<string, TProperties>;

type Groups = typeof SETTINGS;
type Flat = { [G in keyof Groups]: Groups[G] }[keyof Groups];
type Union<T> = (T extends unknown ? (value: T) => void : never) extends (value: infer U) => void ? U : never;

/** Every setting in one object; unknown ones are refused. */
export const ConfigSchema = Type.Object(Object.assign({}, ...Object.values(SETTINGS)) as Union<Flat>, {
  additionalProperties: false,
});

/** The settings as they hold for one process. */
export type Config = Readonly<Static<typeof ConfigSchema>>;

/** A setting's name. */
export type SettingName = keyof Config;

/** `queueUrl` → `QUEUE_URL`. */
export function environmentName(setting: string): string {
  return setting.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
}

/** `queueUrl` → `--queue-url`. */
export function flagName(setting: string): string {
  return `--${setting.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}
