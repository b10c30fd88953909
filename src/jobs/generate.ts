/** THE pipeline: a generation job's payload → conditions → weight tokens → tensors → adapters in the store. */
import { ADAPTER_WEIGHTS_FILE } from '../adapter/verify.ts';
import { LoradropError } from '../base/errors.ts';
import type { Engine } from '../inference/engine.ts';
import type { Bundle } from '../models/bundle.ts';
import type { Logger } from '../observability/logger.ts';
import type { Metrics } from '../observability/metrics.ts';
import { inSpan, type Span } from '../observability/tracing.ts';
import { storeErrors } from '../store/errors.ts';
import type { AdapterFacts, AdapterStore, StoredAdapter, TenantStore } from '../store/store.ts';
import type { AdapterInfo } from './adapter-info.ts';
import { jobErrors } from './errors.ts';
import type { GenerateResult, JobAdapter, JobTimings } from './generate-queue.ts';
import {
  type AdapterRequest,
  type AdapterStage,
  adapterFraction,
  adapterSize,
  contentKey,
  promptDigests,
  writeAdapter,
} from './make-adapter.ts';
import { jobFields } from './observe-runs.ts';
import type { JobContext, JobHandler } from './workers.ts';

/** What the pipeline works with. */
export type GenerateServices = {
  readonly engine: Pick<Engine, 'device' | 'infer' | 'load'>;
  readonly models: { get(id: string): Bundle };
  readonly store: Pick<AdapterStore, 'of'>;
  readonly metrics: Pick<Metrics, 'adapterPublished' | 'prompts' | 'stageSeconds'>;
  readonly logger: Logger;
  /** Writes prompt text to the log, at debug level. */
  readonly logPrompts: boolean;
  readonly now?: () => number;
};

/** What the adapters of a job add up to. */
type Tally = {
  readonly timings: { -readonly [K in keyof JobTimings]: number };
  promptsEncoded: number;
  promptsCached: number;
};

/**
 * The handler of `generate` jobs. It may run again for a job that was cut off at any point: adapters that are already
 * published are kept, the others are made, and the bytes are the same.
 * Errors: `bundle-changed`, `model-not-found`, those of the engine, the writer and the store.
 */
export function createGenerateHandler(services: GenerateServices): JobHandler<'generate'> {
  const { engine, models, now = Date.now } = services;
  return async (context) => {
    const { payload } = context;
    const startedAt = now();
    const timings: Tally['timings'] = {
      queuedMs: startedAt - payload.acceptedAt,
      loadingMs: 0,
      batchingMs: 0,
      embeddingMs: 0,
      decodingMs: 0,
      writingMs: 0,
      totalMs: 0,
    };
    const tally: Tally = { timings, promptsEncoded: 0, promptsCached: 0 };
    const bundle = models.get(payload.model);
    if (bundle.digest !== payload.bundleDigest) {
      throw jobErrors.bundleChanged(
        'This worker has another version of the bundle than the job was accepted for.',
      );
    }
    report(context, 0, 'loading', 0);
    await inSpan(context.span, 'load bundle', () => engine.load(bundle, { signal: context.signal }));
    timings.loadingMs = now() - startedAt;
    noteStages(services, payload.model, { loading: timings.loadingMs });

    const adapters: JobAdapter[] = [];
    for (let index = 0; index < payload.draws.length; index++) {
      context.signal.throwIfAborted();
      const id = payload.adapterIds[index]!;
      const make = (span: Span | undefined) =>
        findOrCreateAdapter(services, { ...context, ...(span && { span }) }, bundle, index, tally);
      adapters.push(
        await inSpan(context.span, 'make adapter', make, {
          attributes: { 'loradrop.adapter.id': id, 'loradrop.adapter.index': index },
        }),
      );
    }
    timings.totalMs = now() - payload.acceptedAt;

    return { adapters, device: engine.device.name, ...tally } satisfies GenerateResult;
  };
}

/** Notes how long stages took, in milliseconds by their names. */
function noteStages(
  { metrics, engine }: Pick<GenerateServices, 'metrics' | 'engine'>,
  model: string,
  stages: Readonly<Record<string, number>>,
): void {
  const device = engine.device.name;
  for (const [stage, ms] of Object.entries(stages)) {
    metrics.stageSeconds.observe({ model, stage, device }, ms / 1000);
  }
}

/** Publishes adapter `index` of the job: kept from an earlier run, copied from an equal one, or made. */
async function findOrCreateAdapter(
  services: GenerateServices,
  context: JobContext<'generate'>,
  bundle: Bundle,
  index: number,
  tally: Tally,
): Promise<JobAdapter> {
  const { engine, metrics, logPrompts, now = Date.now } = services;
  const { payload, signal, id: jobId, tenant, span } = context;
  const log = services.logger.child(jobFields(context));
  const store = services.store.of(tenant);
  const id = payload.adapterIds[index]!;
  const request: AdapterRequest = {
    bundle,
    prompts: payload.draws[index]!.map((place) => payload.prompts[place]!),
    dtype: payload.dtype,
  };
  const digests = promptDigests(request.prompts);
  const key = contentKey({ bundle, dtype: payload.dtype, promptDigests: digests }, engine.device);
  const { base, layout, trained } = bundle.manifest;
  const record = {
    createdAt: now(),
    expiresAt: now() + payload.retentionSeconds * 1000,
    contentKey: key,
    info: {
      jobId,
      index,
      ...(payload.name !== undefined && { name: payload.name }),
      model: payload.model,
      bundleDigest: bundle.digest,
      trained,
      baseModel: base.id,
      dtype: payload.dtype,
      rank: layout.rank,
      alpha: layout.alpha,
      device: engine.device.name,
      seed: payload.seed,
      ...adapterSize(bundle),
      promptDigests: digests,
    } satisfies AdapterInfo,
  };
  if (logPrompts) log.debug({ adapter: id, prompts: request.prompts }, 'prompts of an adapter');

  const earlier = await inSpan(span, 'store find', () => store.find(id));
  if (earlier?.contentKey === key) return summary(earlier, true);
  const copied = await inSpan(span, 'store copy', () => copyEqual(store, id, record));
  const { model } = payload;
  if (copied) {
    const adapter = summary(copied, true);
    metrics.adapterPublished({ tenant, model, source: 'store', bytes: adapter.bytes, engineMs: 0 });
    log.info({ adapter: id }, 'adapter taken from the store');
    return adapter;
  }

  const draft = await store.draft(id);
  try {
    const { inference, writingMs } = await writeAdapter(
      engine,
      request,
      (name, content) => draft.write(name, content, { signal }),
      {
        signal,
        onProgress: ({ stage, fraction }) => report(context, index, stage, fraction),
        ...(span && { span }),
      },
    );
    const publishingAt = performance.now();
    const published = await inSpan(span, 'store publish', () => draft.publish(record));
    const { batchingMs, embeddingMs, decodingMs } = inference.timings;
    const wholeWritingMs = writingMs + performance.now() - publishingAt;
    tally.timings.batchingMs += batchingMs;
    tally.timings.embeddingMs += embeddingMs;
    tally.timings.decodingMs += decodingMs;
    tally.timings.writingMs += wholeWritingMs;
    tally.promptsEncoded += inference.promptsEncoded;
    tally.promptsCached += inference.promptsCached;
    const adapter = summary(published, false);
    const engineMs = embeddingMs + decodingMs;
    metrics.adapterPublished({ tenant, model, source: 'decoder', bytes: adapter.bytes, engineMs });
    noteStages(services, model, {
      batching: batchingMs,
      embedding: embeddingMs,
      decoding: decodingMs,
      writing: wholeWritingMs,
    });
    metrics.prompts.inc({ model, source: 'encoder' }, inference.promptsEncoded);
    metrics.prompts.inc({ model, source: 'cache' }, inference.promptsCached);
    log.info({ adapter: id, bytes: adapter.bytes, sha256: adapter.sha256 }, 'adapter published');
    return adapter;
  } finally {
    await draft.discard();
  }
}

/** Publishes `id` as a copy of an adapter with the same content, if the store has one. */
async function copyEqual(
  store: TenantStore,
  id: string,
  record: AdapterFacts,
): Promise<StoredAdapter | undefined> {
  const equal = await store.findByContent(record.contentKey);
  if (!equal) return undefined;
  try {
    return await store.copy(equal, id, record);
  } catch (error) {
    // Removed since it was found: the adapter is made anew.
    if (error instanceof LoradropError && error.code === storeErrors.notFound.spec.code) return undefined;
    throw error;
  }
}

function report(
  context: JobContext<'generate'>,
  adapter: number,
  stage: AdapterStage,
  fraction: number,
): void {
  const share = (adapter + adapterFraction(stage, fraction)) / context.payload.draws.length;
  context.report({ stage, fraction: share, adapter });
}

function summary(stored: StoredAdapter, fromStore: boolean): JobAdapter {
  const info = stored.info as AdapterInfo;
  const weights = stored.files.find(({ name }) => name === ADAPTER_WEIGHTS_FILE)!;
  return {
    id: stored.id,
    bytes: weights.bytes,
    sha256: weights.sha256,
    tensors: info.tensors,
    parameters: info.parameters,
    promptDigests: info.promptDigests,
    fromStore,
  };
}
