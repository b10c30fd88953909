/** THE pipeline: a generation job's payload → conditions → weight tokens → tensors → adapters in the store. */
import { ADAPTER_WEIGHTS_FILE } from '../adapter/verify.ts';
import { LoradropError } from '../base/errors.ts';
import type { Engine } from '../inference/engine.ts';
import type { Bundle } from '../models/bundle.ts';
import type { ModelRegistry } from '../models/registry.ts';
import type { Logger } from '../observability/logger.ts';
import type { Metrics } from '../observability/metrics.ts';
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
import { PutOff } from './run-job.ts';
import type { JobContext, JobHandler } from './workers.ts';

/** What the pipeline works with. */
export type GenerateServices = {
  readonly engine: Pick<Engine, 'device' | 'infer' | 'load'>;
  readonly models: Pick<ModelRegistry, 'withDigest'>;
  /** Other workers may take jobs of the same queue, and have other bundles. */
  readonly shared: boolean;
  readonly store: Pick<AdapterStore, 'of'>;
  readonly metrics: Pick<Metrics, 'adapters' | 'adapterBytes' | 'prompts' | 'stageSeconds'>;
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
 * A job whose bundle this worker does not have is put off, so that another worker can take it.
 * Errors: `bundle-changed`, those of the engine, the writer and the store.
 */
export function createGenerateHandler(services: GenerateServices): JobHandler<'generate'> {
  const { engine, models, metrics, now = Date.now } = services;
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
    const bundle = models.withDigest(payload.bundleDigest);
    if (!bundle) throw leaveToOthers(services, context);
    report(context, 0, 'loading', 0);
    await engine.load(bundle, { signal: context.signal });
    timings.loadingMs = now() - startedAt;

    const adapters: JobAdapter[] = [];
    for (let index = 0; index < payload.draws.length; index++) {
      context.signal.throwIfAborted();
      adapters.push(await findOrCreateAdapter(services, context, bundle, index, tally));
    }
    timings.totalMs = now() - payload.acceptedAt;

    const device = engine.device.name;
    for (const [stage, ms] of Object.entries(timings)) {
      metrics.stageSeconds.observe(
        { model: payload.model, stage: stage.replace(/Ms$/, ''), device },
        ms / 1000,
      );
    }
    return { adapters, device, ...tally } satisfies GenerateResult;
  };
}

/** How long a job waits that a worker without its bundle took; the wait doubles each time the job is taken in vain. */
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10_000;
/** Shortest time that a job without a deadline waits for a worker with its bundle: longer than a fleet takes to be upgraded. */
const MIN_BUNDLE_WAIT_MS = 24 * 3_600_000;

/** What a worker throws that does not have the job's bundle: the job is put off while another worker may have it. */
function leaveToOthers(
  { shared, logger, now = Date.now }: GenerateServices,
  { payload, attempt, id: jobId }: JobContext<'generate'>,
): Error {
  const { acceptedAt, retentionSeconds, deadlineAt = Number.POSITIVE_INFINITY } = payload;
  const giveUpAt = acceptedAt + Math.max(retentionSeconds * 1000, MIN_BUNDLE_WAIT_MS);
  if (!shared) return jobErrors.bundleChanged('The service has another version of the bundle by now.');
  if (now() >= giveUpAt)
    return jobErrors.bundleChanged('No worker had the bundle for as long as the job could wait.');
  // Many jobs of a bundle that few workers have would otherwise be moved back and forth all the time.
  const waitMs = Math.min(FIRST_WAIT_MS * 2 ** (attempt - 1), LONGEST_WAIT_MS);
  const { model, bundleDigest } = payload;
  if (attempt === 1) logger.info({ jobId, model, bundleDigest }, 'job left to a worker that has its bundle');
  // At its deadline the job is taken once more, and fails by it.
  return new PutOff(Math.min(now() + waitMs, deadlineAt, giveUpAt));
}

/** Publishes adapter `index` of the job: kept from an earlier run, copied from an equal one, or made. */
async function findOrCreateAdapter(
  services: GenerateServices,
  context: JobContext<'generate'>,
  bundle: Bundle,
  index: number,
  tally: Tally,
): Promise<JobAdapter> {
  const { engine, metrics, logger, logPrompts, now = Date.now } = services;
  const { payload, signal, id: jobId, tenant } = context;
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
  if (logPrompts) logger.debug({ jobId, adapter: id, prompts: request.prompts }, 'prompts of an adapter');

  const earlier = await store.find(id);
  if (earlier?.contentKey === key) return summary(earlier, true);
  const copied = await copyEqual(store, id, record);
  if (copied) {
    metrics.adapters.inc({ model: payload.model, source: 'store' });
    logger.info({ jobId, adapter: id }, 'adapter taken from the store');
    return summary(copied, true);
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
      },
    );
    const publishingAt = performance.now();
    const published = await draft.publish(record);
    tally.timings.batchingMs += inference.timings.batchingMs;
    tally.timings.embeddingMs += inference.timings.embeddingMs;
    tally.timings.decodingMs += inference.timings.decodingMs;
    tally.timings.writingMs += writingMs + performance.now() - publishingAt;
    tally.promptsEncoded += inference.promptsEncoded;
    tally.promptsCached += inference.promptsCached;
    const adapter = summary(published, false);
    const { model } = payload;
    metrics.adapters.inc({ model, source: 'decoder' });
    metrics.adapterBytes.inc({ model }, adapter.bytes);
    metrics.prompts.inc({ model, source: 'encoder' }, inference.promptsEncoded);
    metrics.prompts.inc({ model, source: 'cache' }, inference.promptsCached);
    logger.info({ jobId, adapter: id, bytes: adapter.bytes, sha256: adapter.sha256 }, 'adapter published');
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
