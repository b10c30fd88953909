/** A real API for tests: embedded queue, local store, the untrained bundle; only the decoder's numbers are replaced. */
import { rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import type { FastifyInstance } from 'fastify';
import { pino } from 'pino';
import type { Test } from 'tap';
import { createAuthenticate } from '../../src/access/authenticate.ts';
import { peftConfig } from '../../src/adapter/peft-config.ts';
import { safetensorsHeader, writeSafetensors } from '../../src/adapter/safetensors.ts';
import { sha256, sha256Json } from '../../src/base/digest.ts';
import { type AdapterLinksOptions, createAdapterLinks } from '../../src/http/adapter-links.ts';
import { buildApp } from '../../src/http/app.ts';
import { DOCUMENTED_LIMITS } from '../../src/http/openapi.ts';
import { presentJob } from '../../src/http/present-job.ts';
import type { HttpLimits, HttpServices, Readiness } from '../../src/http/services.ts';
import { createCopyHandler } from '../../src/jobs/copy.ts';
import { createDeployHandler } from '../../src/jobs/deploy.ts';
import { openDeployments } from '../../src/jobs/deployments.ts';
import { createExpireHandler } from '../../src/jobs/expire.ts';
import type { GenerateResult } from '../../src/jobs/generate-queue.ts';
import { createRun, type GenerateServices } from '../../src/jobs/generate-run.ts';
import { createReconcileHandler } from '../../src/jobs/reconcile.ts';
import { refuseTrainingFile } from '../../src/jobs/refuse-training-file.ts';
import { setRequestedName } from '../../src/jobs/set-name.ts';
import { transformSources } from '../../src/jobs/transform-job.ts';
import { createValidateHandler, type ValidateServices } from '../../src/jobs/validate.ts';
import { openValidations } from '../../src/jobs/validations.ts';
import { createWorkers, type JobContext } from '../../src/jobs/workers.ts';
import { writeAdapterFiles } from '../../src/jobs/write-adapter-files.ts';
import { loraErrors } from '../../src/lora/errors.ts';
import { openModelRegistry } from '../../src/models/registry.ts';
import { createMetrics } from '../../src/observability/metrics.ts';
import { openQueueBackend } from '../../src/queue/open-queue-backend.ts';
import type { Target } from '../../src/serving/targets.ts';
import { openDestinations } from '../../src/store/destinations.ts';
import { openLocalStore } from '../../src/store/local.ts';
import type { AdapterStore } from '../../src/store/store.ts';
import { withEmptyCluster } from '../helpers/embedded-data.ts';
import { type DefaultQueue, openDefaultQueue } from '../helpers/generate-job.ts';
import { openTestWebhooks } from '../helpers/open-test-webhooks.ts';
import { buildUntrainedBundle } from '../helpers/untrained-bundle.ts';
import { type DefaultStore, defaultStore } from '../suites/store-samples.ts';

/** What links of a test's API are signed with. */
export const TEST_LINK_SECRET = 'link-secret-of-tests-0123456789-abcdef';

const NO_VALIDATION: Pick<ValidateServices, 'bases' | 'validate'> = {
  bases: async () => [],
  validate: async () => {
    throw new Error('There is no base to validate with.');
  },
};

/** What a test gets. */
export type TestApi = {
  readonly app: FastifyInstance;
  /** Listens on a free port on first use. */
  listen(): Promise<string>;
  /** Where the store (`store/`) and the queue (`data/`) lie. */
  readonly directory: string;
  readonly queue: DefaultQueue;
  readonly store: DefaultStore;
  /** Files that were uploaded. */
  readonly files: AdapterStore;
  /** Everything that was logged, as text. */
  logged(): string;
  /** Lets the job named `held` go on (jobs with this name stop in the middle of decoding). */
  release(): void;
  /** Looks at the model servers of all deployments, as the clock does. */
  reconcile(): Promise<number>;
  /** What `/readyz` is told. */
  readiness: Readiness;
  /** Takes the queue away. */
  closeQueue(): Promise<void>;
  /** Begins to stop, as on SIGTERM. */
  drain(): void;
};

/** Options of {@link startApi}. */
export type TestApiOptions = {
  readonly limits?: Partial<HttpLimits>;
  readonly heartbeatMs?: number;
  readonly maxWaiting?: number;
  /** False leaves accepted jobs waiting. */
  readonly work?: boolean;
  readonly services?: Partial<HttpServices>;
  readonly links?: Partial<AdapterLinksOptions>;
  /** Webhook secrets; without it everybody has one. */
  readonly secrets?: { of(owner: string): readonly string[] };
  /** What `DESTINATIONS` would be. */
  readonly destinations?: string;
  /** Groups of model servers. */
  readonly targets?: readonly Target[];
  /** In place of an embedded queue. */
  readonly queueUrl?: string;
  /** How adapters are validated; without it there is no base to do it with. */
  readonly validation?: Pick<ValidateServices, 'bases' | 'validate'>;
  /** In place of a local store; closed with the API. */
  readonly store?: AdapterStore;
};

/** The bundles of all APIs of this process, which only read them: making one takes a second. */
let untrained: Promise<string> | undefined;

async function untrainedBundles(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'loradrop-bundles-'));
  process.once('exit', () => rmSync(directory, { recursive: true, force: true }));
  await buildUntrainedBundle({ out: join(directory, 'untrained'), seed: 0 });
  return directory;
}

/** Starts an API and closes all of it at the end of the test. */
export async function startApi(t: Test, options: TestApiOptions = {}): Promise<TestApi> {
  const { limits, heartbeatMs, maxWaiting = 1000, work = true, services = {}, secrets } = options;
  const destinations = openDestinations({ allowed: options.destinations ?? '', forcePathStyle: true });
  const { links: linkOptions = {}, targets = [], validation = NO_VALIDATION } = options;
  const directory = await mkdtemp(join(tmpdir(), 'loradrop-http-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const lines: string[] = [];
  const sink = new Writable({
    write(chunk, _encoding, done) {
      lines.push(String(chunk));
      done();
    },
  });
  const logger = pino({ level: 'trace' }, sink);
  untrained ??= untrainedBundles();
  const bundles = await untrained;
  const models = await openModelRegistry({ directory: bundles });
  const store = defaultStore(
    options.store ?? (await openLocalStore({ directory: join(directory, 'store') })),
  );
  const { queueUrl } = options;
  const backend = await openQueueBackend({
    ...(queueUrl !== undefined && { url: queueUrl }),
    dataDirectory: queueUrl === undefined ? await withEmptyCluster(join(directory, 'data')) : '',
    logger,
  });
  const queue = await openDefaultQueue({ backend, maxWaiting, logger });
  const metrics = createMetrics({ queue: () => queue.counts() });
  const links = createAdapterLinks({
    store: store.all,
    storeLinks: false,
    secret: TEST_LINK_SECRET,
    seconds: 600,
    byDefault: false,
    ...linkOptions,
  });
  const files = await openLocalStore({ directory: join(directory, 'store', 'files') });
  const validations = await openValidations({ backend });
  const deployments = await openDeployments({ backend, store: store.all });
  const webhooks = await openTestWebhooks({
    deployments,
    validations,
    backend,
    queue,
    logger,
    metrics,
    present: async (record, copy) =>
      presentJob(record, { models, store: store.all, copy, links: await links.ofJob(record) }),
    ...(secrets && { secrets }),
  });
  const reconcile = createReconcileHandler({ targets, deployments, store: store.all, metrics, logger });
  const draining = new AbortController();
  const gate = Promise.withResolvers<void>();
  const api = { readiness: { ready: true, parts: { queue: { ready: true } } } as Readiness };
  const app = await buildApp({
    authenticate: createAuthenticate({ limits: {} }),
    rates: backend.rates,
    queue,
    models,
    webhooks,
    store: store.all,
    files,
    maxFileBytes: 1 << 20,
    validations,
    destinations,
    copies: webhooks.copies,
    targets,
    deployments,
    links,
    metrics,
    logger,
    readiness: async () => api.readiness,
    limits: { ...DOCUMENTED_LIMITS, ...limits },
    draining: draining.signal,
    ...(heartbeatMs !== undefined && { heartbeatMs }),
    ...services,
  });
  const workers = work
    ? await createWorkers({
        backend,
        handlers: {
          generate: (context) =>
            makeSmallAdapters(context, { store: store.all, gate: gate.promise, metrics, logger }),
          expire: createExpireHandler({
            queue,
            deliveries: webhooks.deliveries,
            copies: webhooks.copies,
            deployments,
            validations,
            files,
            store: store.all,
            logger,
          }),
          validate: createValidateHandler({
            store: store.all,
            files,
            models,
            metrics,
            logger,
            ...validation,
          }),
          deploy: createDeployHandler({ targets, deployments, store: store.all, metrics, logger }),
          reconcile: createReconcileHandler({ targets, deployments, store: store.all, metrics, logger }),
          copy: createCopyHandler({ store: store.all, destinations, metrics, logger }),
          ...webhooks.handlers,
        },
        onChange: webhooks.notifier.onChange,
        concurrency: 4,
        logger,
        metrics,
      })
    : undefined;
  const closeQueue = async () => {
    await webhooks.close();
    await deployments.close();
    await validations.close();
    await queue.close();
    await backend.close();
  };
  t.teardown(async () => {
    gate.resolve();
    await app.close();
    await workers?.close({ drainMs: 0 });
    await closeQueue();
    await destinations.close();
    await store.close();
    await files.close();
  });
  return Object.assign(api, {
    app,
    async listen() {
      if (!app.server.listening) await app.listen({ host: '127.0.0.1', port: 0 });
      return `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`;
    },
    directory,
    closeQueue,
    queue,
    store,
    files,
    logged: () => lines.join(''),
    release: () => gate.resolve(),
    reconcile: async () =>
      (await reconcile({ signal: AbortSignal.timeout(60_000) } as JobContext<'reconcile'>)).kicked,
    drain: () => draining.abort(),
  });
}

/** Does a generation's work with two tiny tensors in place of a decode; everything around them is the real thing. */
async function makeSmallAdapters(
  context: JobContext<'generate'>,
  {
    store,
    gate,
    metrics,
    logger,
  }: Pick<GenerateServices, 'metrics' | 'logger'> & { store: AdapterStore; gate: Promise<void> },
): Promise<GenerateResult> {
  if (context.payload.sources) {
    const run = createRun({ store, metrics, logger } as unknown as GenerateServices, context);
    const { timings } = run.tally;
    const adapters = [await transformSources(run, context.payload.sources)];
    return { adapters, timings, device: 'cpu', promptsEncoded: 0, promptsCached: 0 };
  }
  const { tenant, id: jobId, payload, report, signal } = context;
  refuseTrainingFile(payload);
  const layout = {
    rank: 2,
    alpha: 4,
    chunkWidth: 2,
    layers: 1,
    layerPath: 'model.layers',
    modules: [{ path: 'self_attn.q_proj', in: 4, out: 4 }],
  };
  const names = ['A', 'B'].map(
    (side) => `base_model.model.model.layers.0.self_attn.q_proj.lora_${side}.weight`,
  );
  const adapters: GenerateResult['adapters'][number][] = [];
  for (const [index, id] of payload.adapterIds.entries()) {
    report({ stage: 'embedding', fraction: 0.1, adapter: index });
    if (payload.name === 'fails') throw loraErrors.notFinite('A tensor of the adapter has a NaN.');
    report({ stage: 'decoding', fraction: 0.5, adapter: index });
    if (payload.name === 'held') {
      const canceled = new Promise<never>((_, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason), { once: true });
      });
      await Promise.race([gate, canceled]);
    }
    const prompts = payload.draws[index]!.map((place) => payload.prompts[place]!);
    const promptDigests = prompts.map((prompt) => sha256(prompt));
    const seed = Number.parseInt(sha256Json(promptDigests).slice(0, 6), 16);
    const draft = await store.of(tenant).draft(id);
    const tensors = names.map((name, side) => ({ name, shape: side === 0 ? [2, 4] : [4, 2] }));
    const values = tensors.map(() => Float32Array.from({ length: 8 }, (_, place) => (seed % 97) + place));
    const { weights } = await writeAdapterFiles((name, content) => draft.write(name, content), {
      weights: writeSafetensors(tensors, values, { dtype: payload.dtype }),
      weightBytes: safetensorsHeader(tensors, payload.dtype).totalBytes,
      config: peftConfig({ id: 'test/base' }, layout),
      ...(payload.format === 'gguf' && { gguf: { architecture: 'llama', heads: { heads: 1, kvHeads: 1 } } }),
    });
    await draft.publish({
      createdAt: Date.now(),
      expiresAt: Date.now() + payload.retentionSeconds * 1000,
      contentKey: sha256Json({ promptDigests, dtype: payload.dtype }),
      info: {
        jobId,
        index,
        model: payload.model,
        bundleDigest: payload.bundleDigest,
        trained: false,
        baseModel: 'test/base',
        dtype: payload.dtype,
        rank: layout.rank,
        alpha: layout.alpha,
        device: 'cpu',
        seed: payload.seed,
        tensors: 2,
        parameters: 16,
        promptDigests,
      },
    });
    const { bytes, sha256: digest } = weights;
    adapters.push({ id, bytes, sha256: digest, tensors: 2, parameters: 16, promptDigests, fromStore: false });
  }
  await setRequestedName(payload, store.of(tenant));
  const timings = {
    queuedMs: 1,
    loadingMs: 0,
    batchingMs: 0,
    embeddingMs: 0,
    decodingMs: 0,
    writingMs: 0,
    totalMs: 1,
  };
  return { adapters, timings, device: 'cpu', promptsEncoded: payload.prompts.length, promptsCached: 0 };
}
