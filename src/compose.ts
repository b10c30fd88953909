/**
 * The parts list: settings → a running service. The only place that picks concrete parts, and the order in which they
 * start and stop.
 */
import { mkdir } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { KeyRing } from './access/key-ring.ts';
import { collectClosers } from './base/closers.ts';
import { VERSION } from './base/version.ts';
import { openConfiguredChat, startEngine } from './compose/engine.ts';
import { frontDoor, httpLimits, openLinks, openServiceAccess } from './compose/front-desk.ts';
import { createJobHandlers } from './compose/handlers.ts';
import { largestAdapter, openModels } from './compose/models.ts';
import { openQueues } from './compose/queues.ts';
import { checkReadiness } from './compose/readiness.ts';
import type { Role } from './compose/role.ts';
import { openConfiguredDestinations, openConfiguredFiles, openConfiguredStore } from './compose/stores.ts';
import { openConfiguredTracing } from './compose/tracing.ts';
import { redactConfig } from './config/docs.ts';
import { configErrors } from './config/errors.ts';
import { parseModelAliases } from './config/model-aliases.ts';
import type { Config } from './config/schema.ts';
import { buildApp, buildProbeApp } from './http/app.ts';
import { presentJob } from './http/present-job.ts';
import { createTokenCounter } from './inference/count-tokens.ts';
import { openWebhooks } from './jobs/open-webhooks.ts';
import { createPatientDrafts } from './jobs/patient-drafts.ts';
import { createWorkers } from './jobs/workers.ts';
import { createLogger, type Logger } from './observability/logger.ts';
import { createMetrics } from './observability/metrics.ts';
import { openQueueBackend } from './queue/open-queue-backend.ts';
import { readTargets } from './serving/targets.ts';
import { observeStore } from './store/observe-store.ts';
import { createStoreHealth } from './store/store-health.ts';

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
    const build = { version: VERSION, node: process.version, role, queue: backend.kind };
    const metrics = createMetrics({}, { namedTenants: config.metricsTenants, build });
    // Its process takes longer to start than all other parts together, which are opened meanwhile.
    const engineStart = role === 'api' ? undefined : startEngine(config, { logger, metrics });
    engineStart?.catch(() => undefined);
    closers.add('engine', async () => {
      const started = await engineStart?.catch(() => undefined);
      await started?.close();
    });
    const store = observeStore(await openConfiguredStore(config), metrics.storeCalled);
    closers.add('store', () => store.close());
    const files = observeStore(await openConfiguredFiles(config), metrics.storeCalled);
    closers.add('file store', () => files.close());
    const destinations = openConfiguredDestinations(config);
    closers.add('destinations', () => destinations.close());
    const models = await openModels(config, role, logger, signal);
    signal?.throwIfAborted();
    const targets = await readTargets(config.deployTargetsFile && resolve(config.deployTargetsFile));
    const queues = await openQueues(config, { backend, store, logger, closers });
    const { queue, deliveries, copies, deployments, validations } = queues;
    const access = await openServiceAccess(config, role, logger);
    closers.add('keys', () => access.close());
    const engine = await engineStart;
    // As soon as there is something to load it with; whoever waits for it hears of a failure below.
    const loads = engine
      ? models.list().map((bundle) => ({ bundle, loaded: engine.load(bundle, signal ? { signal } : {}) }))
      : [];
    for (const { loaded } of loads) loaded.catch(() => undefined);
    const health = createStoreHealth(store, { bytes: () => largestAdapter(models) });
    const drafts = createPatientDrafts({ maxBytes: config.heldResultBytes, storeReady: health.check });
    metrics.addSources({
      store: health.check,
      ...(engine && { held: drafts.waiting }),
      queue: () => queue.counts(),
      deliveryQueue: () => deliveries.counts(),
      copyQueue: () => copies.counts(),
      deployQueue: () => deployments.counts(),
      validationQueue: () => validations.counts(),
      ...(engine && { engine: () => engine.status() }),
      ...(access.keys && { keys: () => keysView(access.keys!) }),
    });

    const links = await openLinks(config, store);
    const webhooks = await openWebhooks({
      ...queues,
      // A message is written once: without its links it waits for them.
      present: async (record, copy) =>
        presentJob(record, { models, store, copy, links: await links.ofJob(record) }),
      metrics,
      tracing,
      logger,
      ...webhookSettings(config),
    });
    closers.add('webhooks', () => webhooks.close());

    const chat =
      role === 'worker'
        ? undefined
        : openConfiguredChat(config, { models, keys: access.keys, metrics, logger });
    if (chat) closers.add('chat', () => chat.close());

    const draining = new AbortController();
    let working = false;
    const readiness = () =>
      checkReadiness({
        queue,
        health,
        models,
        engine,
        working,
        keys: access.keys,
        secrets: webhooks.secrets,
      });
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
            files,
            maxFileBytes: config.maxFileBytes,
            modelAliases: parseModelAliases(config.fineTuningAliases),
            validations,
            links,
            webhooks: { ...webhooks, deliveries },
            destinations,
            copies,
            targets,
            deployments,
            storeReady: health.check,
            limits: httpLimits(config),
            ...(chat && { chat }),
            countTokens: createTokenCounter(),
            ...(engine && { unloadable: () => engine.status().unloadable }),
          });
    closers.add('HTTP server', () => app.close());
    const url = await app.listen({ host: config.host, port: config.port });

    if (engine) {
      for (const { bundle, loaded } of loads) {
        // A bundle that does not run must not stop the others: readiness names it, and its jobs fail with the reason.
        await loaded.catch((error) => {
          signal?.throwIfAborted();
          logger.error({ err: error, model: bundle.manifest.id }, 'bundle does not load');
        });
      }
      const workers = await createWorkers({
        backend,
        handlers: {
          ...createJobHandlers(config, {
            engine,
            models,
            stores: { store, files, destinations, drafts, health },
            queues,
            shared: backend.kind !== 'embedded',
            targets,
            metrics,
            logger,
          }),
          ...webhooks.handlers,
        },
        concurrency: config.concurrency,
        concurrencyOf: {
          webhook: config.webhookConcurrency,
          copy: config.copyConcurrency,
          deploy: config.deployConcurrency,
          // Each has a base in memory and as many threads as a question.
          validate: 1,
        },
        onChange: webhooks.notifier.onChange,
        lockMs: config.jobLockMs,
        storeReady: health.check,
        logger,
        metrics,
        tracing,
      });
      closers.add('workers', () => workers.close({ drainMs: config.drainSeconds * 1000 }));
      working = true;
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

function keysView({ size, damage }: KeyRing) {
  return { size, damaged: damage !== undefined };
}
