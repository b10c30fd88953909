/**
 * The parts list: settings → a running service. The only place that picks concrete parts, and the order in which they
 * start and stop.
 */
import { randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import packageJson from '../package.json' with { type: 'json' };
import type { Limits } from './access/caller.ts';
import type { KeyRing } from './access/key-ring.ts';
import { openLinkSecret } from './access/link-secret.ts';
import { type Access, openAccess } from './access/open-access.ts';
import { collectClosers } from './base/closers.ts';
import { DTYPE_BYTES } from './base/dtype.ts';
import { toLoradropError } from './base/errors.ts';
import { isLoopback } from './base/loopback.ts';
import { redactConfig } from './config/docs.ts';
import { configErrors } from './config/errors.ts';
import { parseAllowedHosts, parsePublicUrl, parseTrustProxy } from './config/front-door.ts';
import { ownEnvironment } from './config/load.ts';
import type { Config } from './config/schema.ts';
import { traceUrl } from './config/traces.ts';
import { type AdapterLinks, createAdapterLinks } from './http/adapter-links.ts';
import { buildApp, buildProbeApp } from './http/app.ts';
import type { FrontDoor } from './http/front-door.ts';
import { hostRule } from './http/hosts.ts';
import { presentJob } from './http/present-job.ts';
import type { HttpLimits, Readiness, ReadinessPart } from './http/services.ts';
import { createEngine } from './inference/create-engine.ts';
import type { Engine } from './inference/engine.ts';
import { openCopies } from './jobs/copies.ts';
import { createCopyHandler } from './jobs/copy.ts';
import { openDeliveries } from './jobs/deliveries.ts';
import { createExpireHandler } from './jobs/expire.ts';
import { createGenerateHandler } from './jobs/generate.ts';
import { openGenerateQueue } from './jobs/generate-queue.ts';
import { adapterSize } from './jobs/make-adapter.ts';
import { openWebhooks, type Webhooks } from './jobs/open-webhooks.ts';
import { createPatientDrafts } from './jobs/patient-drafts.ts';
import { createWorkers } from './jobs/workers.ts';
import { type ModelRegistry, openModelRegistry } from './models/registry.ts';
import { SHIPPED_BUNDLE } from './models/shipped.ts';
import { createLogger, type Logger } from './observability/logger.ts';
import { createMetrics, type Metrics } from './observability/metrics.ts';
import type { Tracing } from './observability/tracing.ts';
import { openQueueBackend } from './queue/open-queue-backend.ts';
import { type Destinations, openDestinations } from './store/destinations.ts';
import { observeStore } from './store/observe-store.ts';
import { openStore } from './store/open-store.ts';
import type { AdapterStore } from './store/store.ts';
import { createStoreHealth, type StoreHealth } from './store/store-health.ts';
import { GIVE_UP_MS } from './webhooks/retry.ts';

/** What a process does: everything, the API alone, or the work alone. */
export type Role = 'all' | 'api' | 'worker';

/** A running service. */
export type Service = {
  /** Where it listens: `http://127.0.0.1:8080`. */
  readonly url: string;
  /**
   * Stops taking requests and jobs, lets running jobs finish for `DRAIN_SECONDS`, hands the rest back. Idempotent: every call
   * waits for the same end. Rejects when a part did not close in order; all others are closed all the same.
   */
  close(): Promise<void>;
};

/** The bundles directory that holds for the settings. */
export function bundlesDirectory(config: Pick<Config, 'bundlesDir' | 'dataDir'>): string {
  return resolve(config.bundlesDir ?? join(config.dataDir, 'bundles'));
}

/** The directory that keeps pulled bundles by digest, for the settings. */
export function bundleCacheDirectory(
  config: Pick<Config, 'bundleCacheDir' | 'bundlesDir' | 'dataDir'>,
): string {
  return resolve(config.bundleCacheDir ?? join(bundlesDirectory(config), '.cache'));
}

/** Opens the store that the settings name. Errors: `store-address-invalid`, and those of the store. */
export function openConfiguredStore(config: Config, url = config.storeUrl): Promise<AdapterStore> {
  return openStore(url ?? join(config.dataDir, 'store'), {
    ...uploadSettings(config),
    allowUnconditionalWrites: config.s3AllowUnconditionalWrites,
  });
}

function uploadSettings(config: Config) {
  const { s3ForcePathStyle, s3PartBytes, s3PartsInFlight, s3Encryption, s3KmsKeyId } = config;
  return {
    forcePathStyle: s3ForcePathStyle,
    partBytes: s3PartBytes,
    partsInFlight: s3PartsInFlight,
    ...(s3Encryption && { encryption: s3Encryption }),
    ...(s3KmsKeyId !== undefined && { kmsKeyId: s3KmsKeyId }),
  };
}

function openConfiguredDestinations(config: Config): Destinations {
  return openDestinations({ ...uploadSettings(config), allowed: config.destinations ?? '' });
}

/**
 * Starts a service and returns once it takes jobs; it answers probes before that, while its sessions warm up. `signal`
 * abandons the start. Errors: `settings-invalid`, `data-directory-locked`, `queue-unavailable`, `device-unavailable`, and the
 * system's own where it cannot listen. What was opened before a failure is closed again.
 */
export async function startService(
  config: Config,
  role: Role,
  options: { logger?: Logger; pretty?: boolean; signal?: AbortSignal } = {},
): Promise<Service> {
  if (role !== 'all' && config.queueUrl === undefined) {
    throw configErrors.invalid('QUEUE_URL is needed when the API and the workers are separate processes.');
  }
  const logger = options.logger ?? createLogger({ level: config.logLevel, pretty: options.pretty ?? false });
  logger.info({ role, settings: redactConfig(config) }, 'starting');
  const { signal } = options;
  const closers = collectClosers((part, error) => logger.error({ err: error, part }, 'a part did not close'));
  try {
    await mkdir(config.dataDir, { recursive: true });
    const tracing = await openConfiguredTracing(config, role, logger);
    // First in, so that it is closed last, with the spans of all others.
    if (tracing) closers.add('traces', () => tracing.close());
    // The queue first: it holds the data directory's lock, so a second process ends here, before it moves anything.
    const backend = await openQueueBackend({
      ...(config.queueUrl !== undefined && { url: config.queueUrl }),
      dataDirectory: resolve(config.dataDir),
      logger,
    });
    closers.add('queue backend', () => backend.close());
    const build = { version: packageJson.version, node: process.version, role, queue: backend.kind };
    const metrics = createMetrics({}, { namedTenants: config.metricsTenants, build });
    const store = observeStore(await openConfiguredStore(config), metrics.storeCalled);
    closers.add('store', () => store.close());
    const destinations = openConfiguredDestinations(config);
    closers.add('destinations', () => destinations.close());
    const models = await openModels(config, role, logger, signal);
    signal?.throwIfAborted();
    const queue = await openGenerateQueue({ backend, maxWaiting: config.maxQueued, logger });
    closers.add('queue', () => queue.close());
    const deliveries = await openDeliveries({ backend, giveUpMs: GIVE_UP_MS });
    closers.add('deliveries', () => deliveries.close());
    const copies = await openCopies({ backend });
    closers.add('copies', () => copies.close());
    const access = await openServiceAccess(config, role, logger);
    closers.add('keys', () => access.close());
    const engine = role === 'api' ? undefined : await startEngine(config, { logger, metrics });
    if (engine) closers.add('engine', () => engine.close());
    const health = createStoreHealth(store, { bytes: () => largestAdapter(models) });
    const drafts = createPatientDrafts({ maxBytes: config.heldResultBytes, storeReady: health.check });
    metrics.addSources({
      store: health.check,
      ...(engine && { held: drafts.waiting }),
      queue: () => queue.counts(),
      deliveryQueue: () => deliveries.counts(),
      copyQueue: () => copies.counts(),
      ...(engine && { engine: () => engine.status() }),
      ...(access.keys && { keys: () => keysView(access.keys!) }),
    });

    const links = await openLinks(config, store);
    const webhooks = await openWebhooks({
      queue,
      deliveries,
      copies,
      // A message is written once: without its links it waits for them.
      present: async (record, copy) =>
        presentJob(record, { models, store, copy, links: await links.ofJob(record) }),
      metrics,
      tracing,
      logger,
      ...webhookSettings(config),
    });
    closers.add('webhooks', () => webhooks.close());

    const draining = new AbortController();
    const readiness = () =>
      checkReadiness({ queue, health, models, engine, keys: access.keys, secrets: webhooks.secrets });
    const services = {
      readiness,
      metrics,
      metricsAccess: config.metricsNeedKey ? ('admin' as const) : ('public' as const),
      authenticate: access.authenticate,
      rates: backend.rates,
      tracing,
      logger,
      frontDoor: frontDoor(config, access),
      draining: draining.signal,
    };
    const app =
      role === 'worker'
        ? await buildProbeApp(services)
        : await buildApp({
            ...services,
            queue,
            models,
            store,
            links,
            webhooks: { ...webhooks, deliveries },
            destinations,
            copies,
            storeReady: health.check,
            limits: httpLimits(config),
            ...(engine && { unloadable: () => engine.status().unloadable }),
          });
    closers.add('HTTP server', () => app.close());
    const url = await app.listen({ host: config.host, port: config.port });

    if (engine) {
      for (const bundle of models.list()) {
        // A bundle that does not run must not stop the others: readiness names it, and its jobs fail with the reason.
        await engine.load(bundle, signal ? { signal } : {}).catch((error) => {
          signal?.throwIfAborted();
          logger.error({ err: error, model: bundle.manifest.id }, 'bundle does not load');
        });
      }
      const workers = await createWorkers({
        backend,
        handlers: {
          generate: createGenerateHandler({
            engine,
            models,
            store,
            drafts,
            storeReady: health.check,
            metrics,
            logger,
            logPrompts: config.logPrompts,
            shared: backend.kind !== 'embedded',
          }),
          expire: createExpireHandler({ queue, deliveries, copies, store, logger }),
          copy: createCopyHandler({ store, destinations, metrics, logger }),
          ...webhooks.handlers,
        },
        concurrency: config.concurrency,
        concurrencyOf: { webhook: config.webhookConcurrency, copy: config.copyConcurrency },
        onChange: webhooks.notifier.onChange,
        lockMs: config.jobLockMs,
        storeReady: health.check,
        logger,
        metrics,
        tracing,
      });
      closers.add('workers', () => workers.close({ drainMs: config.drainSeconds * 1000 }));
    }
    logger.info(
      { url, device: engine?.device.name, models: models.list().map(({ manifest }) => manifest.id) },
      'ready',
    );

    const stop = async () => {
      logger.info('stopping');
      draining.abort();
      await closers.close();
      logger.info('stopped');
    };
    let stopped: Promise<void> | undefined;
    return { url, close: () => (stopped ??= stop()) };
  } catch (error) {
    // What did not close is in the log; the caller is told why the service did not start.
    await closers.close().catch(() => undefined);
    throw error;
  }
}

async function openModels(
  config: Config,
  role: Role,
  logger: Logger,
  signal: AbortSignal | undefined,
): Promise<ModelRegistry> {
  const models = await openModelRegistry({
    directory: bundlesDirectory(config),
    fallback: SHIPPED_BUNDLE,
    // What a model is like stands in its manifest; the weights are the workers' to check.
    manifestsOnly: role === 'api',
    ...(signal && { signal }),
    ...(config.defaultModel !== undefined && { defaultId: config.defaultModel }),
  });
  for (const problem of models.problems) logger.error(problem, 'bundle left out');
  const [first] = models.list();
  if (!first) throw configErrors.invalid('There is no usable bundle. Import one, or repair those there are.');
  if (first.directory === SHIPPED_BUNDLE) {
    logger.info(
      { model: first.manifest.id },
      'no bundle of your own: serving the one that comes with Loradrop',
    );
  }
  return models;
}

/** Opens the door as the settings say. A worker serves probes alone, so it needs no key to be reached. */
function openServiceAccess(config: Config, role: Role, logger: Logger): Promise<Access> {
  const { auth, apiKeysFile, dataDir, host } = config;
  if (auth === 'off') logger.warn('AUTH=off: everybody who can reach the service may do everything');
  return openAccess({
    mode: auth,
    keysFile: resolve(apiKeysFile ?? join(dataDir, 'keys.json')),
    fileNamed: apiKeysFile !== undefined,
    loopback: role === 'worker' || isLoopback(host),
    limits: accessLimits(config),
    onChange: ({ size, damage }) =>
      damage
        ? logger.error({ err: damage }, 'the keys file cannot be used; the last good keys hold')
        : logger.info({ keys: size }, 'keys read anew'),
  });
}

/** Links to files. A secret of this machine's own would not open what another process has signed. */
async function openLinks(config: Config, store: AdapterStore): Promise<AdapterLinks> {
  const { storeUrl, queueUrl, dataDir, linkSeconds, presign } = config;
  const storeLinks = storeUrl?.startsWith('s3:') ?? false;
  const alone = queueUrl === undefined && !storeLinks;
  const secret =
    config.linkSecret ?? (alone ? await openLinkSecret(resolve(dataDir, 'link-secret')) : undefined);
  const links = createAdapterLinks({
    store,
    storeLinks,
    secret,
    publicUrl: parsePublicUrl(config.publicUrl),
    seconds: linkSeconds,
    byDefault: presign,
    limits: accessLimits(config),
  });
  if (presign && !links.available) {
    throw configErrors.invalid(
      'PRESIGN=true needs LINK_SECRET where QUEUE_URL is set and the store is local.',
    );
  }
  return links;
}

function webhookSettings(config: Config) {
  const { webhookAllow, webhookPorts, webhookEndpoints, webhookEndpointEvents } = config;
  const { webhookSecretsFile, webhookConcurrency, dataDir } = config;
  return {
    allow: webhookAllow,
    ports: webhookPorts,
    endpoints: webhookEndpoints ?? '',
    endpointEvents: webhookEndpointEvents,
    secretsFile: webhookSecretsFile && resolve(webhookSecretsFile),
    dataDirectory: resolve(dataDir),
    concurrency: webhookConcurrency,
  };
}

/** The bounds that hold for keys without their own. */
export function accessLimits(config: Config): Limits {
  const bounds = {
    requestsPerSecond: config.keyRequestsPerSecond,
    requestBurst: config.keyRequestBurst,
    waitingJobs: config.tenantWaitingJobs,
    runningJobs: config.tenantRunningJobs,
    adapters: config.tenantAdapters,
    storedBytes: config.tenantStoredBytes,
  };
  return Object.fromEntries(Object.entries(bounds).filter(([, bound]) => bound > 0));
}

/** Bytes of the largest adapter that the models make, in the widest of the types. */
function largestAdapter(models: ModelRegistry): number {
  return Math.max(0, ...models.list().map((bundle) => adapterSize(bundle).parameters * DTYPE_BYTES.f32));
}

function keysView({ size, damage }: KeyRing) {
  return { size, damaged: damage !== undefined };
}

/** Starts traces where the settings name a collector; else nothing of OpenTelemetry is loaded. */
async function openConfiguredTracing(
  config: Config,
  role: Role,
  logger: Logger,
): Promise<Tracing | undefined> {
  const url = traceUrl(config);
  if (url === undefined) return undefined;
  const { openTracing } = await import('./observability/open-tracing.ts');
  return openTracing({
    url,
    serviceName: config.otelServiceName,
    version: packageJson.version,
    resource: {
      'service.instance.id': randomUUID(),
      'loradrop.role': role,
    },
    sampler: config.otelTracesSampler,
    samplerRatio: config.otelTracesSamplerArg,
    logger,
  });
}

function startEngine(
  config: Config,
  { logger, metrics }: { logger: Logger; metrics: Metrics },
): Promise<Engine> {
  const { device, threads, encodeTokenBudget, batchWaitMs, promptCacheBytes } = config;
  const { memoryLimitBytes, cancelGraceMs } = config;
  return createEngine({
    device,
    threads,
    encodeTokenBudget,
    batchWaitMs,
    promptCacheBytes,
    memoryLimitBytes,
    cancelGraceMs,
    environment: ownEnvironment(),
    logger,
    metrics,
  });
}

/** Who is let in, for the settings. */
function frontDoor(config: Config, { keys }: Access): FrontDoor {
  const { host, maxConnections, headersTimeoutMs, requestTimeoutMs, keepAliveMs } = config;
  return {
    // A page that rebinds a name to this machine has no key, so where one is needed the name does not matter.
    hosts: hostRule({
      host,
      allowedHosts: parseAllowedHosts(config.allowedHosts),
      open: !keys?.guarded,
    }),
    trustedProxies: parseTrustProxy(config.trustProxy),
    connections: { maxConnections, headersTimeoutMs, requestTimeoutMs, keepAliveMs },
  };
}

/** The bounds on requests that hold for the settings. */
export function httpLimits(config: Config): HttpLimits {
  const { maxBodyBytes, maxPrompts, maxPromptChars, maxCount, maxWaitSeconds, maxDeadlineSeconds } = config;
  const { retentionSeconds: defaultRetentionSeconds, maxRetentionSeconds } = config;
  return {
    maxBodyBytes,
    maxPrompts,
    maxPromptChars,
    maxCount,
    maxWaitSeconds,
    maxDeadlineSeconds,
    defaultRetentionSeconds,
    maxRetentionSeconds,
  };
}

type Parts = {
  readonly queue: { ready(): Promise<void> };
  readonly health: StoreHealth;
  readonly models: ModelRegistry;
  readonly engine: Engine | undefined;
  readonly keys: KeyRing | undefined;
  readonly secrets: Webhooks['secrets'];
};

async function checkReadiness({ queue, health, models, engine, keys, secrets }: Parts): Promise<Readiness> {
  const answers = (promise: Promise<void>): Promise<ReadinessPart> =>
    promise.then(
      () => ({ ready: true }),
      (error) => ({ ready: false, detail: toLoradropError(error).message }),
    );
  const parts: Record<string, ReadinessPart> = {
    queue: await answers(queue.ready()),
    store: await answers(health.check()),
    models: { ready: models.list().length > 0 },
    // The last good keys hold, so this is to be seen and no reason to stop sending requests.
    ...(keys?.damage && { keys: { ready: true, detail: `${keys.damage.title} ${keys.damage.message}` } }),
    ...(secrets.damage && {
      webhooks: { ready: true, detail: `${secrets.damage.title} ${secrets.damage.message}` },
    }),
  };
  if (engine) {
    const { state, bundles, unloadable, error } = engine.status();
    const reasons = new Map(unloadable.map(({ digest, reason }) => [digest, reason]));
    const all = models.list();
    const usable = all.filter(({ digest }) => !reasons.has(digest));
    const loaded = usable.length > 0 && usable.every(({ digest }) => bundles.includes(digest));
    const left = all.flatMap(({ manifest, digest }) =>
      reasons.has(digest) ? [`${manifest.id}: ${reasons.get(digest)}`] : [],
    );
    const waiting = usable.length > 0 ? 'loading' : 'no bundle loads';
    parts['engine'] = {
      ready: state === 'ready' && loaded,
      detail: [
        error ?? (state === 'ready' && !loaded ? waiting : state),
        ...(left.length > 0 ? [`(${left.length} of ${all.length} bundles do not load)`, ...left] : []),
      ].join(' '),
    };
  }
  return {
    ready: Object.values(parts).every(({ ready }) => ready),
    parts,
    ...(engine && { device: engine.device }),
  };
}
