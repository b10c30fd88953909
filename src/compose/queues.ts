/** The queues of all jobs that others submit. */
import type { collectClosers } from '../base/closers.ts';
import type { Config } from '../config/schema.ts';
import { type Copies, openCopies } from '../jobs/copies.ts';
import { type Deliveries, openDeliveries } from '../jobs/deliveries.ts';
import { type Deployments, openDeployments } from '../jobs/deployments.ts';
import { type GenerateQueue, openGenerateQueue } from '../jobs/generate-queue.ts';
import { openValidations, type Validations } from '../jobs/validations.ts';
import type { Logger } from '../observability/logger.ts';
import type { QueueBackend } from '../queue/backend.ts';
import type { AdapterStore } from '../store/store.ts';
import { GIVE_UP_MS } from '../webhooks/retry.ts';

/** One queue for each kind of job that others submit. */
export type Queues = {
  readonly queue: GenerateQueue;
  readonly deliveries: Deliveries;
  readonly copies: Copies;
  readonly deployments: Deployments;
  readonly validations: Validations;
};

/** Opens all queues and hands them to `closers`. Errors: `queue-unavailable`. */
export async function openQueues(
  config: Config,
  parts: {
    readonly backend: QueueBackend;
    readonly store: AdapterStore;
    readonly logger: Logger;
    readonly closers: Pick<ReturnType<typeof collectClosers>, 'add'>;
  },
): Promise<Queues> {
  const { backend, store, logger, closers } = parts;
  const queue = await openGenerateQueue({ backend, maxWaiting: config.maxQueued, logger });
  closers.add('queue', () => queue.close());
  const deliveries = await openDeliveries({ backend, giveUpMs: GIVE_UP_MS });
  closers.add('deliveries', () => deliveries.close());
  const copies = await openCopies({ backend });
  closers.add('copies', () => copies.close());
  const deployments = await openDeployments({ backend, store });
  closers.add('deployments', () => deployments.close());
  const validations = await openValidations({ backend });
  closers.add('validations', () => validations.close());
  return { queue, deliveries, copies, deployments, validations };
}
