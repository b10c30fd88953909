/**
 * A client of the API, for browsers, Node, Deno and Bun. It is made of `fetch` and the shapes of `openapi.json`, and imports
 * nothing else.
 */
import { type AdapterFile, type DownloadOptions, downloadFile, fileChunks, toHex } from './download.ts';
import { JobEndedError } from './errors.ts';
import { type JobEvent, jobEvents } from './events.ts';
import { type Connection, type RequestBody, type RequestOptions, request, requestJson } from './request.ts';
import type {
  Adapter,
  AdapterList,
  AdapterSummary,
  GenerateRequest,
  Job,
  JobList,
  JobProgress,
  Model,
  ModelList,
  TransformRequest,
  Usage,
} from './types.ts';

export type { AdapterFile, DownloadOptions } from './download.ts';
export { DigestError, JobEndedError, ProblemError, UnreachableError } from './errors.ts';
export type { JobEvent } from './events.ts';
export type * from './types.ts';

/** Where the service is, and how patient the client is with it. */
export type ClientOptions = {
  /** `https://loradrop.example.org`; it may end in a path. */
  readonly url: string;
  /** An API key, where the service wants one. */
  readonly key?: string | undefined;
  /** Another `fetch`, such as one with a proxy. */
  readonly fetch?: typeof globalThis.fetch;
  /** Attempts after the first, for requests that may be repeated: all of them, since submissions carry an idempotency key. */
  readonly retries?: number;
  /** Longest `Retry-After` to wait for. */
  readonly maxRetryAfterSeconds?: number;
};

type Signal = { readonly signal?: AbortSignal | undefined };
/** How a job is submitted. */
export type SubmitOptions = Signal & {
  /** The same key, within the job's retention, answers the same job. Default: a new one for each call. */
  readonly idempotencyKey?: string;
};
/** Which jobs are listed. */
export type JobFilter = {
  readonly status?: Job['status'] | undefined;
  readonly model?: string | undefined;
};
/** Which adapters are listed. */
export type AdapterFilter = { readonly model?: string | undefined; readonly baseModel?: string | undefined };
/** A file of prompts in a format that the service reads: JSON lines, CSV, Parquet, plain text … */
export type PromptFile = { readonly body: RequestBody; readonly type: string; readonly encoding?: string };
/** Options of a submission that come beside a file of prompts. */
export type FileOptions = Omit<
  GenerateRequest,
  'prompts' | 'transform' | 'metadata' | 'webhook' | 'destination'
>;

/** A client of one service. Every method rejects with `ProblemError`, `UnreachableError` or the signal's reason. */
export type Client = ReturnType<typeof createClient>;

/** Creates a client. Nothing is sent before a method is called. */
export function createClient(options: ClientOptions) {
  const connection: Connection = {
    url: options.url,
    key: options.key,
    fetch: options.fetch ?? ((input, init) => globalThis.fetch(input, init)),
    retries: options.retries ?? 4,
    maxRetryAfterSeconds: options.maxRetryAfterSeconds ?? 60,
  };
  const ask = <T>(path: string, requestOptions: RequestOptions = {}): Promise<T> =>
    requestJson<T>(connection, path, requestOptions);
  const submit = (path: string, { signal, idempotencyKey = newKey() }: SubmitOptions, rest: RequestOptions) =>
    ask<Job>(path, {
      method: 'POST',
      ...rest,
      headers: { ...rest.headers, 'idempotency-key': idempotencyKey },
      signal,
    });

  const client = {
    /** Submits a generation; the job is accepted, not done. */
    generate: (body: GenerateRequest, submitOptions: SubmitOptions = {}): Promise<Job> =>
      submit('/generate', submitOptions, json(body)),
    /** Submits a generation from a file of prompts as it is. */
    generateFromFile: (
      file: PromptFile,
      query: FileOptions = {},
      submitOptions: SubmitOptions = {},
    ): Promise<Job> =>
      submit('/generate', submitOptions, {
        body: file.body,
        query: query as NonNullable<RequestOptions['query']>,
        headers: {
          'content-type': file.type,
          ...(file.encoding !== undefined && { 'content-encoding': file.encoding }),
        },
      }),
    /** Submits a job that makes an adapter from others. */
    transform: (adapterId: string, body: TransformRequest, submitOptions: SubmitOptions = {}): Promise<Job> =>
      submit(`/adapters/${encodeURIComponent(adapterId)}/transform`, submitOptions, json(body)),

    /** A job as it is now. */
    getJob: (id: string, { signal }: Signal = {}) => ask<Job>(`/jobs/${encodeURIComponent(id)}`, { signal }),
    /** Jobs, newest first; pages are fetched as they are needed. */
    async *listJobs({ status, model, signal }: JobFilter & Signal = {}): AsyncGenerator<Job, void, void> {
      let cursor: string | undefined;
      do {
        const page = await ask<JobList>('/jobs', { query: { status, model, cursor, limit: 100 }, signal });
        yield* page.jobs;
        cursor = page.nextCursor;
      } while (cursor !== undefined);
    },
    /** Asks a job to stop, and answers it. One that has ended is a `job-finished` problem. */
    cancelJob: (id: string, { signal }: Signal = {}) =>
      ask<Job>(`/jobs/${encodeURIComponent(id)}`, { method: 'DELETE', signal }),
    /** A job's progress, then the job as it ended. */
    followJob: (id: string, signal: Signal = {}): AsyncGenerator<JobEvent, void, void> =>
      jobEvents(connection, id, signal),
    /** Waits until a job has succeeded. Errors: also `JobEndedError`. */
    async waitForJob(
      id: string,
      { signal, onProgress }: Signal & { onProgress?: (progress: JobProgress) => void } = {},
    ): Promise<Job> {
      for await (const event of jobEvents(connection, id, { signal })) {
        if (event.type === 'progress') onProgress?.(event.progress);
        else if (event.job.status === 'succeeded') return event.job;
        else throw new JobEndedError(event.job);
      }
      throw new Error('unreachable: events end with the job');
    },

    /** Adapters, the last stored first; pages are fetched as they are needed. */
    async *listAdapters({
      model,
      baseModel,
      signal,
    }: AdapterFilter & Signal = {}): AsyncGenerator<AdapterSummary, void, void> {
      const query = { model, baseModel, limit: 100 };
      let cursor: string | undefined;
      do {
        const page = await ask<AdapterList>('/adapters', { query: { ...query, cursor }, signal });
        yield* page.adapters;
        cursor = page.nextCursor;
      } while (cursor !== undefined);
    },
    /** An adapter's record: its files with their digests, among others. */
    getAdapter: (id: string, { signal }: Signal = {}) =>
      ask<Adapter>(`/adapters/${encodeURIComponent(id)}`, { signal }),
    /** Deletes an adapter. */
    async deleteAdapter(id: string, { signal }: Signal = {}): Promise<void> {
      await request(connection, `/adapters/${encodeURIComponent(id)}`, { method: 'DELETE', signal });
    },
    /** One file of an adapter, whole and verified. Errors: also `DigestError`. */
    download: (adapterId: string, file: AdapterFile, downloadOptions: Omit<DownloadOptions, 'offset'> = {}) =>
      downloadFile(connection, adapterId, file, downloadOptions),
    /** The bytes of a file as they come, from an offset on; the caller checks the digest of the whole. */
    downloadChunks: (adapterId: string, file: AdapterFile, downloadOptions: DownloadOptions = {}) =>
      fileChunks(connection, adapterId, file, downloadOptions),

    /** The models that jobs can name. */
    listModels: async ({ signal }: Signal = {}): Promise<Model[]> =>
      (await ask<ModelList>('/models', { signal })).models,
    /** One model. */
    getModel: (id: string, { signal }: Signal = {}) =>
      ask<Model>(`/models/${encodeURIComponent(id)}`, { signal }),
    /** What is used of the limits that hold for the key. */
    getUsage: ({ signal }: Signal = {}) => ask<Usage>('/usage', { signal }),
  };
  return client;
}

function json(body: unknown): RequestOptions {
  return { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } };
}

/** `crypto.randomUUID` is missing in browsers on plain http. */
function newKey(): string {
  return toHex(globalThis.crypto.getRandomValues(new Uint8Array(16)));
}
