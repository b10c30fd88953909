/** What a worker does with each kind of job. */
import { listBases } from '../chat/bases.ts';
import { ownEnvironment } from '../config/load.ts';
import type { Config } from '../config/schema.ts';
import { validateAdapter } from '../evaluation/validate.ts';
import type { Engine } from '../inference/engine.ts';
import { createCopyHandler } from '../jobs/copy.ts';
import { createDeployHandler } from '../jobs/deploy.ts';
import { createExpireHandler } from '../jobs/expire.ts';
import { createGenerateHandler } from '../jobs/generate.ts';
import type { PatientDrafts } from '../jobs/patient-drafts.ts';
import { createReconcileHandler } from '../jobs/reconcile.ts';
import { createValidateHandler } from '../jobs/validate.ts';
import type { JobHandlers } from '../jobs/workers.ts';
import type { ModelRegistry } from '../models/registry.ts';
import type { Logger } from '../observability/logger.ts';
import type { Metrics } from '../observability/metrics.ts';
import type { Target } from '../serving/targets.ts';
import type { Destinations } from '../store/destinations.ts';
import type { AdapterStore } from '../store/store.ts';
import type { StoreHealth } from '../store/store-health.ts';
import { basesDirectory } from './directories.ts';
import { chatThreads } from './engine.ts';
import { knownBases } from './models.ts';
import type { Queues } from './queues.ts';

/** What handlers work with. */
type HandlerParts = {
  readonly engine: Engine;
  readonly models: ModelRegistry;
  readonly stores: {
    readonly store: AdapterStore;
    readonly files: AdapterStore;
    readonly destinations: Destinations;
    readonly drafts: PatientDrafts;
    readonly health: StoreHealth;
  };
  readonly queues: Queues;
  /** Other processes work on the same jobs. */
  readonly shared: boolean;
  readonly targets: readonly Target[];
  readonly metrics: Metrics;
  readonly logger: Logger;
};

/** Makes the handlers of all jobs but those that tell somebody: these come with the webhooks. */
export function createJobHandlers(
  config: Config,
  { engine, models, stores, queues, shared, targets, metrics, logger }: HandlerParts,
): Omit<JobHandlers, 'webhook' | 'notify'> {
  const { store, files, destinations, drafts, health } = stores;
  const { deployments } = queues;
  return {
    generate: createGenerateHandler({
      engine,
      models,
      store,
      drafts,
      storeReady: health.check,
      metrics,
      logger,
      logPrompts: config.logPrompts,
      shared,
    }),
    expire: createExpireHandler({ ...queues, files, store, logger }),
    validate: createValidateHandler({
      store,
      files,
      models,
      bases: () => listBases(basesDirectory(config), knownBases(models)),
      validate: (request, rest) =>
        validateAdapter(
          { ...request, threads: chatThreads(config) },
          { ...rest, environment: ownEnvironment(), logger },
        ),
      metrics,
      logger,
    }),
    copy: createCopyHandler({ store, destinations, metrics, logger }),
    deploy: createDeployHandler({ targets, deployments, store, metrics, logger }),
    reconcile: createReconcileHandler({ targets, deployments, store, metrics, logger }),
  };
}
