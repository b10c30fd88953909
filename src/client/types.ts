/** The shapes of the API. Made from openapi/openapi.json by `npm run docs`: change the schemas, not this file. */

/**
 * A failure (RFC 9457).
 */
export interface Problem {
  /**
   * `/problems/{code}`, which explains it.
   */
  type: string;
  title: string;
  status: number;
  /**
   * What happened this time. Holds no prompt text and no paths.
   */
  detail: string;
  /**
   * Stable; branch on it. `GET /problems` lists them.
   */
  code: string;
  /**
   * The offending fields, at most 20.
   */
  errors?: {
    /**
     * JSON pointer into the body, or the parameter. Lines count like the items of an array.
     */
    pointer: string;
    message: string;
  }[];
  /**
   * The request’s id, as in `X-Request-Id`.
   */
  instance: string;
}
/**
 * Why a job failed.
 */
export interface JobError {
  /**
   * `/problems/{code}`, which explains it.
   */
  type: string;
  title: string;
  status: number;
  /**
   * What happened this time. Holds no prompt text and no paths.
   */
  detail: string;
  /**
   * Stable; branch on it. `GET /problems` lists them.
   */
  code: string;
  /**
   * The offending fields, at most 20.
   */
  errors?: {
    /**
     * JSON pointer into the body, or the parameter. Lines count like the items of an array.
     */
    pointer: string;
    message: string;
  }[];
}
/**
 * What a failure means.
 */
export interface ProblemExplanation {
  code: string;
  type: string;
  status: number;
  meaning: string;
}
/**
 * Milliseconds by stage, summed over the job’s adapters; `queuedMs` up to the last start.
 */
export interface Timings {
  queuedMs: number;
  loadingMs: number;
  batchingMs: number;
  embeddingMs: number;
  decodingMs: number;
  writingMs: number;
  totalMs: number;
}
/**
 * Links to an adapter’s files. They need no key, so keep them as you would keep the files, and they end at `expiresAt`: the job and the adapter show new ones each time. Addresses of object storage, or of this service: absolute where the operator has told its address, else relative to it.
 */
export interface FileLinks {
  /**
   * `adapter_model.safetensors`.
   */
  weights: string;
  /**
   * `adapter_config.json`.
   */
  config: string;
  expiresAt: string;
}
/**
 * An adapter of a job, promised or made.
 */
export interface JobAdapter {
  id: string;
  /**
   * Relative to the service.
   */
  url: string;
  /**
   * SHA-256 of each chosen prompt, in condition order. Left out in listings.
   *
   * Items: SHA-256, lower-case hex.
   */
  promptDigests?: string[];
  /**
   * Of `adapter_model.safetensors`. This and the following: once the job succeeded.
   */
  bytes?: number;
  /**
   * SHA-256, lower-case hex.
   */
  sha256?: string;
  tensors?: number;
  parameters?: number;
  /**
   * True when an equal adapter was in the store, so that the decoder did not run.
   */
  fromStore?: boolean;
  /**
   * Address of the adapter’s directory in shared storage. Absent for a local store.
   */
  location?: string;
  links?: FileLinks;
}
/**
 * Where a job’s prompts were found, and how many there are.
 */
export interface PromptSource {
  /**
   * How they were read: `text`, `jsonl`, `json`, `csv`, `tsv`, `parquet`; of several files, the first.
   */
  format: string;
  /**
   * The column or columns they were taken from, as in `question` or `instruction + input`. Absent for plain texts.
   */
  field?: string;
  /**
   * Prompts that were given.
   */
  rows: number;
  /**
   * Different texts among them.
   */
  distinct: number;
}
/**
 * Where a job’s adapters are copied, and how that stands.
 */
export interface JobDestination {
  type: 's3';
  bucket: string;
  prefix: string;
  /**
   * `delivered`: all files of all adapters are there. `failed`: given up after a day, or at once where waiting mends nothing; also when the job itself failed or was canceled.
   */
  state: 'pending' | 'delivered' | 'failed';
  /**
   * Address of the first adapter’s copy, also before it is there. The others lie beside it, each under its id.
   */
  location: string;
  /**
   * Attempts made so far.
   */
  attempts: number;
  lastAttemptAt?: string;
  nextAttemptAt?: string;
  deliveredAt?: string;
  error?: JobError;
}
/**
 * An adapter at a deploy target.
 */
export interface JobDeployment {
  id?: string;
  target: string;
  name?: string;
  adapter: string;
  /**
   * `partial`: some replicas have it. `failing`: none has it, and those that answer say no; it is tried again. `refused`: the target is gone or does not take the adapter. `removing`: no longer wanted; replicas that are away keep it until they answer.
   */
  state: 'pending' | 'partial' | 'deployed' | 'failing' | 'refused' | 'removing' | 'removed';
  /**
   * What the servers call it: `tenant/name@commit`, never given to other bytes.
   */
  servedName?: string;
  /**
   * What a request to the servers carries to use it.
   */
  use?: {
    [k: string]: unknown;
  };
  replicas: {
    /**
     * Host and port.
     */
    replica: string;
    /**
     * `loaded`: it lists the adapter. `on-request`: it loads with the first request. `missing`: it has to be started with the file. `forgotten`: it said yes and lists nothing. `unapplied`: it lists the adapter and answers as the base does.
     */
    state:
      | 'loaded'
      | 'on-request'
      | 'missing'
      | 'forgotten'
      | 'unapplied'
      | 'refused'
      | 'unavailable'
      | 'unloaded';
    at: string;
    /**
     * Times that the adapter was loaded here.
     */
    loads: number;
    /**
     * Whether log-probabilities of fixed prompts with the adapter differ from those without it by more than the server’s noise.
     */
    applied?: boolean | 'unknown';
    /**
     * Largest difference of a token’s log-probability, with and without.
     */
    difference?: number;
    /**
     * The same between two equal questions to the base.
     */
    noise?: number;
    detail?: string;
  }[];
  nextAttemptAt?: string;
  /**
   * Why no replica could be asked.
   */
  error?: {
    code: string;
    title: string;
    detail: string;
  };
}
/**
 * An adapter at a deploy target, and how every replica stands.
 */
export interface Deployment {
  id: string;
  target: string;
  name?: string;
  adapter: string;
  /**
   * `partial`: some replicas have it. `failing`: none has it, and those that answer say no; it is tried again. `refused`: the target is gone or does not take the adapter. `removing`: no longer wanted; replicas that are away keep it until they answer.
   */
  state: 'pending' | 'partial' | 'deployed' | 'failing' | 'refused' | 'removing' | 'removed';
  /**
   * What the servers call it: `tenant/name@commit`, never given to other bytes.
   */
  servedName?: string;
  /**
   * What a request to the servers carries to use it.
   */
  use?: {
    [k: string]: unknown;
  };
  replicas: {
    /**
     * Host and port.
     */
    replica: string;
    /**
     * `loaded`: it lists the adapter. `on-request`: it loads with the first request. `missing`: it has to be started with the file. `forgotten`: it said yes and lists nothing. `unapplied`: it lists the adapter and answers as the base does.
     */
    state:
      | 'loaded'
      | 'on-request'
      | 'missing'
      | 'forgotten'
      | 'unapplied'
      | 'refused'
      | 'unavailable'
      | 'unloaded';
    at: string;
    /**
     * Times that the adapter was loaded here.
     */
    loads: number;
    /**
     * Whether log-probabilities of fixed prompts with the adapter differ from those without it by more than the server’s noise.
     */
    applied?: boolean | 'unknown';
    /**
     * Largest difference of a token’s log-probability, with and without.
     */
    difference?: number;
    /**
     * The same between two equal questions to the base.
     */
    noise?: number;
    detail?: string;
  }[];
  nextAttemptAt?: string;
  /**
   * Why no replica could be asked.
   */
  error?: {
    code: string;
    title: string;
    detail: string;
  };
  createdAt: string;
  expiresAt: string;
  /**
   * Relative to the service.
   */
  url: string;
}
/**
 * Newest first.
 */
export interface DeploymentList {
  deployments: Deployment[];
  /**
   * Absent on the last page.
   */
  nextCursor?: string;
}
/**
 * A generation job.
 */
export interface Job {
  id: string;
  status: 'queued' | 'processing' | 'succeeded' | 'failed' | 'canceled';
  stage: 'queued' | 'loading' | 'embedding' | 'decoding' | 'writing' | 'done';
  /**
   * Share of the whole job that is done.
   */
  fraction: number;
  /**
   * Jobs that start before it, while it is queued.
   */
  position?: number;
  /**
   * Runs begun so far.
   */
  attempts: number;
  model: string;
  /**
   * SHA-256, lower-case hex.
   */
  bundleDigest: string;
  /**
   * False for a model with random weights. Absent when the model is no longer there.
   */
  trained?: boolean;
  dtype: 'bf16' | 'f16' | 'f32';
  format: 'safetensors' | 'gguf';
  seed: number;
  count: number;
  /**
   * Adapters that the job’s adapter is made from, in place of prompts.
   */
  sources?: {
    adapter: string;
    weight: number;
    /**
     * Relative to the service.
     */
    url: string;
  }[];
  keep?: 'central' | 'mean';
  transform?: (
    | {
        type: 'scale';
        /**
         * What every change of a weight, ΔW = scale · B·A, is multiplied with.
         */
        factor: number;
        /**
         * Scale only that many modules, those with the largest ‖ΔW‖ (cf. arXiv 2604.23750).
         */
        top?: number;
      }
    | {
        type: 'rank';
        /**
         * The rank afterwards.
         */
        to?: number;
        /**
         * The smallest rank, the same for all modules, that keeps this share of Σ‖ΔW‖². Either this or `to`.
         */
        energy?: number;
      }
    | {
        type: 'modules';
        /**
         * How many modules, counted over all layers, keep their LoRA: those with the largest ‖ΔW‖.
         */
        keep: number;
      }
  )[];
  promptSource?: PromptSource;
  priority: number;
  name?: string;
  /**
   * The name is set once the job succeeds. Absent where it is not.
   */
  setName?: boolean;
  metadata?: {
    [k: string]: string;
  };
  /**
   * As the request has it; a password in the address is not shown.
   */
  webhook?: {
    url: string;
    events: (
      | 'job.queued'
      | 'job.started'
      | 'job.progress'
      | 'job.succeeded'
      | 'job.failed'
      | 'job.canceled'
      | 'job.delivered'
      | 'fine_tuning.job.succeeded'
      | 'fine_tuning.job.failed'
      | 'fine_tuning.job.cancelled'
    )[];
  };
  destination?: JobDestination;
  /**
   * Where it was asked for with `deploy`: one for each adapter and target.
   */
  deployments?: JobDeployment[];
  /**
   * It shows `links` of its adapters once it has succeeded.
   */
  presign?: true;
  warnings: string[];
  acceptedAt: string;
  startedAt?: string;
  finishedAt?: string;
  deadlineAt?: string;
  retentionSeconds: number;
  /**
   * Where inference ran: `cpu`, `cuda:0`.
   */
  device?: string;
  timings?: Timings;
  promptsEncoded?: number;
  promptsCached?: number;
  /**
   * Of the first adapter in shared storage; all are in `adapters`.
   */
  location?: string;
  adapters: JobAdapter[];
  error?: JobError;
  urls: {
    /**
     * Relative to the service.
     */
    self: string;
    /**
     * Relative to the service.
     */
    events: string;
    /**
     * Send DELETE.
     */
    cancel: string;
    /**
     * Of its webhook, where it has one.
     */
    deliveries?: string;
    /**
     * The first adapter; all are in `adapters`. Where that has `links`, the one to its weights.
     */
    adapter: string;
  };
}
/**
 * The data of a `progress` event. The last event is named after the final status and has a Job.
 */
export interface JobProgress {
  id: string;
  status: 'queued' | 'processing' | 'succeeded' | 'failed' | 'canceled';
  stage: 'queued' | 'loading' | 'embedding' | 'decoding' | 'writing' | 'done';
  fraction: number;
  /**
   * 0-based number of the adapter being made.
   */
  adapter: number;
  attempts: number;
  position?: number;
}
/**
 * An event of a job’s stream, which has one after the other.
 */
export interface JobEvent {
  /**
   * For `Last-Event-ID`.
   */
  id: string;
  event: 'progress' | 'succeeded' | 'failed' | 'canceled';
  /**
   * A `JobProgress` in an event named `progress`, else the `Job`.
   */
  data: string;
}
/**
 * A delivery of a job’s webhook.
 */
export interface Delivery {
  /**
   * 0-based number among the deliveries of the job.
   */
  n: number;
  /**
   * The `webhook-id` header, the same in every attempt.
   */
  id: string;
  event:
    | 'job.queued'
    | 'job.started'
    | 'job.progress'
    | 'job.succeeded'
    | 'job.failed'
    | 'job.canceled'
    | 'job.delivered'
    | 'fine_tuning.job.succeeded'
    | 'fine_tuning.job.failed'
    | 'fine_tuning.job.cancelled';
  /**
   * `failed`: given up after a day of attempts. `disabled`: the receiver answered 410, so nothing more is sent to it.
   */
  state: 'pending' | 'delivered' | 'failed' | 'disabled';
  /**
   * Attempts made so far.
   */
  attempts: number;
  createdAt: string;
  lastAttemptAt?: string;
  nextAttemptAt?: string;
  /**
   * What the receiver answered last.
   */
  status?: number;
  /**
   * Why there was no answer: `timeout`, `connection-refused`, `tls-failed` ….
   */
  failure?: string;
  urls: {
    /**
     * Send POST.
     */
    replay: string;
  };
}
/**
 * Deliveries of a job’s webhook, in order.
 */
export interface DeliveryList {
  deliveries: Delivery[];
}
/**
 * Jobs, newest first.
 */
export interface JobList {
  jobs: Job[];
  /**
   * Absent on the last page.
   */
  nextCursor?: string;
}
/**
 * A finished adapter.
 */
export interface Adapter {
  id: string;
  jobId: string;
  /**
   * 0-based number among the adapters of its job.
   */
  index: number;
  model: string;
  /**
   * SHA-256, lower-case hex.
   */
  bundleDigest: string;
  /**
   * False for a model with random weights: a valid file with random effect.
   */
  trained: boolean;
  dtype: 'bf16' | 'f16' | 'f32';
  device: string;
  seed: number;
  name?: string;
  tensors: number;
  parameters: number;
  baseModel: string;
  /**
   * Of the base: `llama`, `qwen2`.
   */
  architecture?: string;
  /**
   * Attention heads of the base, and those of k and v, where they are known.
   */
  heads?: {
    heads: number;
    kvHeads: number;
  };
  rank: number;
  alpha: number;
  /**
   * True where it is scaled by alpha / √rank (`use_rslora`).
   */
  rsLora?: boolean;
  licence?: {
    /**
     * The terms of the weights, and what training data add to them.
     */
    text: string;
    /**
     * `false`: the terms of the weights, or of data that they were trained on, forbid commercial use. `true`: none of them does, by the word of whoever made the bundle. `unclear`: nobody has said.
     */
    commercialUse: boolean | 'unclear';
  };
  /**
   * Those of its job.
   */
  warnings?: string[];
  /**
   * SHA-256 of each chosen prompt, in condition order.
   *
   * Items: SHA-256, lower-case hex.
   */
  promptDigests: string[];
  transform?: {
    /**
     * The adapters it was made from, each with the SHA-256 of its weights.
     */
    sources?: {
      id: string;
      weight: number;
      sha256: string;
    }[];
    /**
     * What was kept of the samples of its job.
     */
    keep?: 'central' | 'mean';
    /**
     * ‖ΔW − mean‖ / ‖mean‖ of each sample of its job, in the order of the draws.
     */
    samples?: number[];
    steps: (
      | {
          type: 'scale';
          /**
           * What every change of a weight, ΔW = scale · B·A, is multiplied with.
           */
          factor: number;
          /**
           * Scale only that many modules, those with the largest ‖ΔW‖ (cf. arXiv 2604.23750).
           */
          top?: number;
        }
      | {
          type: 'rank';
          /**
           * The rank afterwards.
           */
          to?: number;
          /**
           * The smallest rank, the same for all modules, that keeps this share of Σ‖ΔW‖². Either this or `to`.
           */
          energy?: number;
        }
      | {
          type: 'modules';
          /**
           * How many modules, counted over all layers, keep their LoRA: those with the largest ‖ΔW‖.
           */
          keep: number;
        }
    )[];
    /**
     * Share of Σ‖ΔW‖² that the cutting steps left.
     */
    energyKept: number;
  };
  createdAt: string;
  expiresAt: string;
  /**
   * Address of the adapter’s directory in shared storage. Absent for a local store.
   */
  location?: string;
  files: {
    name: string;
    bytes: number;
    /**
     * SHA-256, lower-case hex.
     */
    sha256: string;
    /**
     * Relative to the service.
     */
    url?: string;
  }[];
  urls: {
    /**
     * Relative to the service.
     */
    self: string;
    /**
     * Relative to the service.
     */
    job: string;
    /**
     * Relative to the service.
     */
    weights: string;
    /**
     * Relative to the service.
     */
    config: string;
    /**
     * Where the adapter is kept as GGUF, or says what a conversion needs to know.
     */
    gguf?: string;
    /**
     * Relative to the service.
     */
    archive: string;
  };
  links?: FileLinks;
}
/**
 * A generator: what it takes and what its adapters are for.
 */
export interface Model {
  id: string;
  version: string;
  title: string;
  description: string;
  /**
   * True for the model of requests that name none.
   */
  default: boolean;
  /**
   * False where the weights are random.
   */
  trained: boolean;
  /**
   * What to know before using it.
   */
  notice?: string;
  /**
   * Why it does not load or run here, so that its jobs fail. Not known where the workers are other processes.
   */
  unloadable?: string;
  /**
   * SHA-256, lower-case hex.
   */
  digest: string;
  /**
   * Of all its files.
   */
  bytes: number;
  licence: {
    /**
     * The terms of the weights, and what training data add to them.
     */
    text: string;
    /**
     * `false`: the terms of the weights, or of data that they were trained on, forbid commercial use. `true`: none of them does, by the word of whoever made the bundle. `unclear`: nobody has said.
     */
    commercialUse: boolean | 'unclear';
  };
  provenance: string[];
  /**
   * Of the generator: `dnd`, Drag-and-Drop LLMs; `t2l`, Text-to-LoRA.
   */
  family: 'dnd' | 't2l';
  /**
   * `prompts`: unlabeled prompts of a task. `description`: one text that says what the task is, and `count` 1.
   */
  takes: 'prompts' | 'description';
  base: {
    id: string;
    architecture: string;
  };
  lora: {
    rank: number;
    alpha: number;
    /**
     * True where the adapter is scaled by alpha / √rank (`use_rslora`).
     */
    rsLora?: boolean;
    layers: number;
    targetModules: string[];
  };
  condition: {
    /**
     * N: texts that make a condition.
     */
    prompts: number;
    /**
     * Most tokens of a text; prompts are padded or cut to it.
     */
    tokens: number;
    width: number;
  };
  decoder: {
    parameters: number;
    precision: string;
    /**
     * Of one decode.
     */
    multiplyAdds: number;
    /**
     * Estimated need of one decode on a CPU, weights included.
     */
    memoryBytes: number;
  };
  /**
   * What was measured of it before it was published. The service passes it on and does not measure anything itself.
   */
  evaluation?: {
    /**
     * What was held out, how, on how many items, and from which run the figures are.
     */
    protocol: string;
    /**
     * @minItems 1
     * @maxItems 500
     */
    rows: {
      dataset: string;
      /**
       * Nats per answer token (less is better), or share of right answers (0 to 1).
       */
      metric: 'answer-nll' | 'accuracy';
      /**
       * Whose figure it is: `generated` is this model’s adapters, `base` the base model, `own-adapter` an adapter trained on the data set itself, `uniform-guess` a guess that knows the form of the answers alone, `base-held-to-choices` the base model with the form for nothing, `control-…` this model’s adapters for other prompts (answered in the same form or in another) or for shuffled words.
       */
      subject:
        | 'base'
        | 'base-instructed'
        | 'base-held-to-choices'
        | 'uniform-guess'
        | 'training-adapters-mean'
        | 'training-adapter-best'
        | 'training-adapters-average'
        | 'multi-task-adapter'
        | 'multi-task-adapter-unmixed'
        | 'generated'
        | 'own-adapter'
        | 'control-same-form'
        | 'control-other-form'
        | 'control-other-prompts'
        | 'control-shuffled-words';
      value: number;
      /**
       * Lower end of the interval that the protocol explains.
       */
      low?: number;
      /**
       * Upper end of it.
       */
      high?: number;
      /**
       * Items of the data set it is over.
       */
      items?: number;
      /**
       * Draws of prompts it is over.
       */
      draws?: number;
      /**
       * Standard deviation over the draws.
       */
      deviation?: number;
    }[];
  };
  urls: {
    /**
     * Relative to the service.
     */
    self: string;
  };
}
/**
 * The models there are.
 */
export interface ModelList {
  models: Model[];
  /**
   * Bundles that were found and cannot be used.
   */
  refused: {
    name: string;
    reason: string;
  }[];
}
/**
 * What a tenant uses of what it may.
 */
export interface Usage {
  tenant: string;
  /**
   * Name of the key; absent where none is needed.
   */
  key?: string;
  scopes: ('generate' | 'read' | 'admin' | 'serve')[];
  /**
   * When the key expires.
   */
  expiresAt?: string;
  /**
   * What the key may send. The `RateLimit` header of every answer tells what is left.
   */
  requests: {
    /**
     * On average.
     */
    perSecond?: number;
    /**
     * At once.
     */
    burst?: number;
  };
  /**
   * Jobs of the tenant that wait. Beyond the limit new ones get 429.
   */
  waitingJobs: {
    used: number;
    /**
     * Absent: no bound.
     */
    limit?: number;
  };
  /**
   * Jobs of the tenant that run. Beyond the limit they wait.
   */
  runningJobs: {
    used: number;
    /**
     * Absent: no bound.
     */
    limit?: number;
  };
  /**
   * Adapters in the store.
   */
  adapters: {
    used: number;
    /**
     * Absent: no bound.
     */
    limit?: number;
  };
  /**
   * Files uploaded under `/v1/files`.
   */
  files: {
    used: number;
    /**
     * Absent: no bound.
     */
    limit?: number;
  };
  /**
   * Bytes of the adapters’ files and of those that were uploaded.
   */
  storedBytes: {
    used: number;
    /**
     * Absent: no bound.
     */
    limit?: number;
  };
}
/**
 * What of prompts would be used.
 */
export interface PromptPreview {
  model: string;
  /**
   * Prompts that were read.
   */
  count: number;
  /**
   * Different texts among them.
   */
  distinct: number;
  /**
   * Prompts that an adapter of the model is made of.
   */
  wanted: number;
  /**
   * Most tokens of a prompt that the encoder takes.
   */
  tokenLimit: number;
  source: PromptSource;
  warnings: string[];
  /**
   * The first 200.
   */
  prompts: {
    /**
     * The beginning of it.
     */
    text: string;
    chars: number;
    /**
     * Absent where this process has no tokenizer.
     */
    tokens?: number;
    /**
     * Tokens that the encoder keeps.
     */
    kept?: number;
  }[];
}
/**
 * How much an adapter changes its base.
 */
export interface AdapterNorms {
  /**
   * ‖ΔW‖ (Frobenius) of each module, by its path in the base.
   */
  modules: {
    [k: string]: number;
  };
  /**
   * √Σ‖ΔW‖².
   */
  total: number;
  other?: {
    adapter: string;
    total: number;
    /**
     * ‖ΔW − ΔW of the other‖ over all modules.
     */
    distance: number;
    /**
     * Of the angle between the two changes.
     */
    cosine: number;
  };
}
/**
 * An adapter in short; `urls.self` has the whole.
 */
export interface AdapterSummary {
  id: string;
  jobId: string;
  model: string;
  /**
   * False for a model with random weights: a valid file with random effect.
   */
  trained: boolean;
  dtype: 'bf16' | 'f16' | 'f32';
  name?: string;
  baseModel: string;
  rank: number;
  alpha: number;
  /**
   * All files of it that are kept.
   */
  bytes: number;
  createdAt: string;
  expiresAt: string;
  urls: {
    /**
     * Relative to the service.
     */
    self: string;
    /**
     * Relative to the service.
     */
    job: string;
  };
}
/**
 * Adapters, the last stored first.
 */
export interface AdapterList {
  adapters: AdapterSummary[];
  /**
   * Absent on the last page. A page may have fewer adapters than asked for, or none, and still not be the last one, where a filter matches few.
   */
  nextCursor?: string;
}
/**
 * A mutable alias of immutable adapters.
 */
export interface Name {
  /**
   * 1–64 of `A–Z a–z 0–9 _ -`, not all digits, without `--`, neither beginning nor ending with `-`.
   */
  name: string;
  /**
   * What it stands for.
   */
  adapter: string;
  /**
   * Stands for the adapter in the Hub view, for as long as it exists.
   */
  commit: string;
  setAt: string;
  /**
   * What Hub clients call it: `tenant/name`.
   */
  repository: string;
  /**
   * False when the adapter was deleted or has expired: the name stays until it is set anew or deleted. Left out in listings.
   */
  available?: boolean;
  /**
   * All that it stood for, the newest first, at most 1000. Left out in listings.
   */
  history?: {
    adapter: string;
    /**
     * Stands for the adapter in the Hub view, for as long as it exists.
     */
    commit: string;
    setAt: string;
  }[];
  urls: {
    /**
     * Relative to the service.
     */
    self: string;
    /**
     * Relative to the service.
     */
    adapter: string;
    /**
     * Relative to the service.
     */
    repository: string;
  };
}
/**
 * Names in alphabetical order.
 */
export interface NameList {
  names: Name[];
  /**
   * Absent on the last page.
   */
  nextAfter?: string;
}
/**
 * An answer in OpenAI’s shape.
 */
export interface ChatCompletion {
  id: string;
  object: 'chat.completion';
  /**
   * Seconds since the epoch.
   */
  created: number;
  model: string;
  choices: {
    index: number;
    message: {
      role: 'assistant';
      content: string;
    };
    finish_reason: 'stop' | 'length';
  }[];
  usage: {
    prompt_tokens: number;
    completion_tokens: number;
    total_tokens: number;
  };
  /**
   * Named as llama.cpp’s server names them.
   */
  timings: {
    /**
     * Taking the adapter on and making a context.
     */
    prepare_ms: number;
    prompt_n: number;
    /**
     * Until the first token.
     */
    prompt_ms: number;
    predicted_n: number;
    predicted_ms: number;
    predicted_per_second: number;
  };
}
/**
 * A base, or an adapter on one, in OpenAI’s shape.
 */
export interface ChatModel {
  /**
   * What `model` of a question names.
   */
  id: string;
  object: 'model';
  /**
   * Seconds since the epoch.
   */
  created: number;
  owned_by: string;
  /**
   * The base, for one with an adapter.
   */
  parent?: string;
}
/**
 * Bases, bases with each named adapter, and models of fine-tuning jobs, in OpenAI’s shape.
 */
export interface ChatModelList {
  object: 'list';
  data: ChatModel[];
}
/**
 * The adapter is gone, with its files.
 */
export interface ChatModelDeleted {
  id: string;
  object: 'model';
  deleted: true;
}
/**
 * A failure in OpenAI’s shape.
 */
export interface OpenaiError {
  error: {
    message: string;
    type: string;
    param: string | null;
    /**
     * As in the problems of other addresses.
     */
    code: string;
  };
}
/**
 * A file that was uploaded, or that a fine-tuning job has made.
 */
export interface FileObject {
  id: string;
  object: 'file';
  bytes: number;
  /**
   * Seconds since the epoch.
   */
  created_at: number;
  /**
   * Seconds since the epoch.
   */
  expires_at: number;
  filename: string;
  purpose: 'fine-tune' | 'fine-tune-results';
  status: 'processed';
}
/**
 * Files, the newest first unless asked otherwise.
 */
export interface FileList {
  object: 'list';
  data: FileObject[];
  has_more: boolean;
}
/**
 * The file is gone.
 */
export interface FileDeleted {
  id: string;
  object: 'file';
  deleted: true;
}
/**
 * A generation in the shape of OpenAI’s fine-tuning jobs.
 */
export interface FineTuningJob {
  object: 'fine_tuning.job';
  id: string;
  /**
   * Seconds since the epoch.
   */
  created_at: number;
  finished_at: number | null;
  /**
   * As the request named it.
   */
  model: string;
  fine_tuned_model: string | null;
  organization_id: string;
  status: 'queued' | 'running' | 'succeeded' | 'failed' | 'cancelled';
  error: {
    code: string;
    message: string;
    param: string | null;
  } | null;
  training_file: string;
  validation_file: string | null;
  /**
   * The adapter: weights, configuration, and GGUF where the base has one.
   */
  result_files: string[];
  hyperparameters: {
    n_epochs?: number | 'auto';
    batch_size?: number | 'auto';
    learning_rate_multiplier?: number | 'auto';
  };
  method: {
    type: 'supervised';
    supervised: {
      hyperparameters: {
        n_epochs?: number | 'auto';
        batch_size?: number | 'auto';
        learning_rate_multiplier?: number | 'auto';
      };
    };
  };
  seed: number;
  /**
   * Nothing is trained.
   */
  trained_tokens: null;
  estimated_finish: null;
  /**
   * @maxItems 0
   */
  integrations: {}[];
  metadata: {
    [k: string]: string;
  } | null;
  user_provided_suffix: string | null;
}
/**
 * What a job did.
 */
export interface FineTuningEvent {
  object: 'fine_tuning.job.event';
  id: string;
  /**
   * Seconds since the epoch.
   */
  created_at: number;
  level: 'info' | 'warn' | 'error';
  message: string;
  type: 'message' | 'metrics';
  data: {
    [k: string]: unknown;
  };
}
/**
 * The adapter of a job that has succeeded.
 */
export interface FineTuningCheckpoint {
  object: 'fine_tuning.job.checkpoint';
  id: string;
  /**
   * Seconds since the epoch.
   */
  created_at: number;
  fine_tuned_model_checkpoint: string;
  fine_tuning_job_id: string;
  /**
   * There are no steps.
   */
  step_number: 0;
  /**
   * Those of the validation, where there was one; `base_full_valid_loss` is the base’s.
   */
  metrics: {
    step: 0;
    full_valid_loss?: number;
    [k: string]: unknown;
  };
}
/**
 * Jobs, the newest first.
 */
export interface FineTuningJobList {
  object: 'list';
  data: FineTuningJob[];
  has_more: boolean;
}
/**
 * Events, the newest first.
 */
export interface FineTuningEventList {
  object: 'list';
  data: FineTuningEvent[];
  has_more: boolean;
}
/**
 * One checkpoint, or none.
 */
export interface FineTuningCheckpointList {
  object: 'list';
  data: FineTuningCheckpoint[];
  has_more: boolean;
}
export interface GenerateRequest {
  /**
   * Texts, or rows of a data set as in JSON lines. At least 1 and at most 20000 texts of at most 131072 characters, not blank. A model takes N of them (`condition.prompts`): exactly N are used in the order given, of more N are drawn with the seed, fewer are repeated at random with a warning, or refused with `strictPrompts`. A model that `takes` a description takes exactly one.
   *
   * @minItems 1
   */
  prompts?: (string | Record<string, unknown>)[];
  /**
   * What a task is, in words, in place of `prompts`: for a model that `takes` a description. At most 131072 characters, not blank.
   */
  description?: string;
  /**
   * Id of a model. Default: the service’s default model.
   */
  model?: string;
  /**
   * Adapters to sample, each from the next draw of prompts. At most 32.
   */
  count?: number;
  /**
   * Decides the draw of prompts. Default: random, and told in the job.
   */
  seed?: number;
  /**
   * Refuses fewer than N prompts with `too-few-prompts` instead of repeating some.
   */
  strictPrompts?: boolean;
  /**
   * Where rows have their prompt: a column’s name, or a JSON pointer into the row (`/input/messages`). Default: the columns that public data sets use.
   */
  promptField?: string;
  /**
   * Makes each prompt of several columns, as in `{instruction}
   * {input}`; `{{` and `}}` are braces. A line whose columns are all empty is left out. Excludes `promptField`.
   */
  promptTemplate?: string;
  /**
   * Makes one adapter of `count` samples (2 or more): `central`, the sample nearest to their mean in weight space; `mean`, the mean itself, cut back to the rank of one sample. The adapter’s `transform.samples` tells how far each was from the mean.
   */
  keep?: 'central' | 'mean';
  /**
   * Number format of the adapter’s tensors.
   */
  dtype?: 'bf16' | 'f16' | 'f32';
  /**
   * `gguf` keeps `adapter.gguf` (f16, for llama.cpp) beside the safetensors, for readers of the store, of a destination and of archives. `GET /adapters/{id}/adapter.gguf` needs no such file.
   */
  format?: 'safetensors' | 'gguf';
  /**
   * For people.
   */
  name?: string;
  /**
   * Makes `name` stand for the adapter once the job succeeds, as `PUT /names/{name}` does. `name` must have the form that is taken there, and `count` be 1. Of several jobs, the last one to succeed holds.
   */
  setName?: boolean;
  /**
   * 0 (background) to 9 (urgent).
   */
  priority?: number;
  /**
   * The job fails with `deadline-exceeded` when it takes longer. At most 86400.
   */
  deadlineSeconds?: number;
  /**
   * How long the adapters and the job’s record are kept. At most 7776000.
   */
  retentionSeconds?: number;
  /**
   * Once it has succeeded, the job shows links to its adapters’ files that need no key and end after a while (`links` of an adapter; `urls.adapter` is the one to the first adapter’s weights). Whoever has such a link can fetch the file. The operator decides the default, which is false.
   */
  presign?: boolean;
  /**
   * What is done with each adapter, in this order, exactly and without training.
   *
   * @minItems 1
   * @maxItems 8
   */
  transform?: (
    | {
        type: 'scale';
        /**
         * What every change of a weight, ΔW = scale · B·A, is multiplied with.
         */
        factor: number;
        /**
         * Scale only that many modules, those with the largest ‖ΔW‖ (cf. arXiv 2604.23750).
         */
        top?: number;
      }
    | {
        type: 'rank';
        /**
         * The rank afterwards.
         */
        to?: number;
        /**
         * The smallest rank, the same for all modules, that keeps this share of Σ‖ΔW‖². Either this or `to`.
         */
        energy?: number;
      }
    | {
        type: 'modules';
        /**
         * How many modules, counted over all layers, keep their LoRA: those with the largest ‖ΔW‖.
         */
        keep: number;
      }
  )[];
  /**
   * Kept and shown with the job. At most 16 entries, keys of 64 and values of 512 characters.
   */
  metadata?: {
    [k: string]: string;
  };
  /**
   * Who is told of the job.
   */
  webhook?: {
    /**
     * Where the job’s events are posted, signed as Standard Webhooks say. A public https:// address; the operator may allow others.
     */
    url: string;
    /**
     * Default: `job.succeeded`, `job.failed`, `job.canceled`. `job.delivered` comes when a copy of the adapter has reached the request’s destination, so not without one. `fine_tuning.job.succeeded`, `.failed` and `.cancelled` come for jobs of `/v1/fine_tuning` alone, in OpenAI’s shape.
     *
     * @minItems 1
     */
    events?: (
      | 'job.queued'
      | 'job.started'
      | 'job.progress'
      | 'job.succeeded'
      | 'job.failed'
      | 'job.canceled'
      | 'job.delivered'
      | 'fine_tuning.job.succeeded'
      | 'fine_tuning.job.failed'
      | 'fine_tuning.job.cancelled'
    )[];
  };
  /**
   * Where the adapters are copied once the job has succeeded: each to `{prefix}/{adapter id}/`, `adapter_config.json` last. What is there is never overwritten. A copy that fails is tried again for a day, and the adapters are kept for that long; `destination` of the job tells how it stands. A copy that is given up leaves the job succeeded.
   */
  destination?: {
    type: 's3';
    /**
     * A bucket that the operator allows.
     */
    bucket: string;
    /**
     * At most 512 characters: parts of letters, digits, `_`, `-` and `.` with a slash between them.
     */
    prefix?: string;
  };
  /**
   * Model servers on which the adapters are loaded once the job has succeeded, on every replica, and kept loaded until the adapter is deleted or expires. `deployments` of the job tells how that stands; a job stays succeeded whatever the servers do.
   *
   * @maxItems 8
   */
  deploy?: {
    /**
     * A deploy target that the operator lets your tenant use.
     */
    target: string;
    /**
     * What successive adapters are called there, before their version. Once a newer adapter is on every replica, the older one of this name is unloaded. Default: the adapter’s id.
     */
    name?: string;
  }[];
}
export interface TransformRequest {
  /**
   * What its ΔW is multiplied with.
   */
  weight?: number;
  /**
   * Adapters of the same base that are added, before the steps. The ranks add up.
   *
   * @maxItems 15
   */
  add?: {
    adapter: string;
    /**
     * What its ΔW is multiplied with.
     */
    weight?: number;
  }[];
  /**
   * What is done with each adapter, in this order, exactly and without training.
   *
   * @minItems 0
   * @maxItems 8
   */
  transform?: (
    | {
        type: 'scale';
        /**
         * What every change of a weight, ΔW = scale · B·A, is multiplied with.
         */
        factor: number;
        /**
         * Scale only that many modules, those with the largest ‖ΔW‖ (cf. arXiv 2604.23750).
         */
        top?: number;
      }
    | {
        type: 'rank';
        /**
         * The rank afterwards.
         */
        to?: number;
        /**
         * The smallest rank, the same for all modules, that keeps this share of Σ‖ΔW‖². Either this or `to`.
         */
        energy?: number;
      }
    | {
        type: 'modules';
        /**
         * How many modules, counted over all layers, keep their LoRA: those with the largest ‖ΔW‖.
         */
        keep: number;
      }
  )[];
  /**
   * Number format of the result. Default: that of the adapter.
   */
  dtype?: 'bf16' | 'f16' | 'f32';
  /**
   * `gguf` keeps `adapter.gguf` (f16, for llama.cpp) beside the safetensors, for readers of the store, of a destination and of archives. `GET /adapters/{id}/adapter.gguf` needs no such file.
   */
  format?: 'safetensors' | 'gguf';
  /**
   * For people.
   */
  name?: string;
  /**
   * Makes `name` stand for the adapter once the job succeeds, as `PUT /names/{name}` does. `name` must have the form that is taken there, and `count` be 1. Of several jobs, the last one to succeed holds.
   */
  setName?: boolean;
  /**
   * 0 (background) to 9 (urgent).
   */
  priority?: number;
  /**
   * The job fails with `deadline-exceeded` when it takes longer. At most 86400.
   */
  deadlineSeconds?: number;
  /**
   * How long the adapters and the job’s record are kept. At most 7776000.
   */
  retentionSeconds?: number;
  /**
   * Once it has succeeded, the job shows links to its adapters’ files that need no key and end after a while (`links` of an adapter; `urls.adapter` is the one to the first adapter’s weights). Whoever has such a link can fetch the file. The operator decides the default, which is false.
   */
  presign?: boolean;
  /**
   * Kept and shown with the job. At most 16 entries, keys of 64 and values of 512 characters.
   */
  metadata?: {
    [k: string]: string;
  };
  /**
   * Who is told of the job.
   */
  webhook?: {
    /**
     * Where the job’s events are posted, signed as Standard Webhooks say. A public https:// address; the operator may allow others.
     */
    url: string;
    /**
     * Default: `job.succeeded`, `job.failed`, `job.canceled`. `job.delivered` comes when a copy of the adapter has reached the request’s destination, so not without one. `fine_tuning.job.succeeded`, `.failed` and `.cancelled` come for jobs of `/v1/fine_tuning` alone, in OpenAI’s shape.
     *
     * @minItems 1
     */
    events?: (
      | 'job.queued'
      | 'job.started'
      | 'job.progress'
      | 'job.succeeded'
      | 'job.failed'
      | 'job.canceled'
      | 'job.delivered'
      | 'fine_tuning.job.succeeded'
      | 'fine_tuning.job.failed'
      | 'fine_tuning.job.cancelled'
    )[];
  };
  /**
   * Where the adapters are copied once the job has succeeded: each to `{prefix}/{adapter id}/`, `adapter_config.json` last. What is there is never overwritten. A copy that fails is tried again for a day, and the adapters are kept for that long; `destination` of the job tells how it stands. A copy that is given up leaves the job succeeded.
   */
  destination?: {
    type: 's3';
    /**
     * A bucket that the operator allows.
     */
    bucket: string;
    /**
     * At most 512 characters: parts of letters, digits, `_`, `-` and `.` with a slash between them.
     */
    prefix?: string;
  };
  /**
   * Model servers on which the adapters are loaded once the job has succeeded, on every replica, and kept loaded until the adapter is deleted or expires. `deployments` of the job tells how that stands; a job stays succeeded whatever the servers do.
   *
   * @maxItems 8
   */
  deploy?: {
    /**
     * A deploy target that the operator lets your tenant use.
     */
    target: string;
    /**
     * What successive adapters are called there, before their version. Once a newer adapter is on every replica, the older one of this name is unloaded. Default: the adapter’s id.
     */
    name?: string;
  }[];
}
