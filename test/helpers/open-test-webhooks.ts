/** Webhooks that may go to loopback, with a secret for everybody. Imports no test runner. */
import { type Copy, openCopies } from '../../src/jobs/copies.ts';
import { createDeliverHandler } from '../../src/jobs/deliver.ts';
import { openDeliveries } from '../../src/jobs/deliveries.ts';
import type { Deployments } from '../../src/jobs/deployments.ts';
import type { GenerateQueue, GenerateRecord } from '../../src/jobs/generate-queue.ts';
import { createNotifier } from '../../src/jobs/notify.ts';
import type { Validations } from '../../src/jobs/validations.ts';
import type { Logger } from '../../src/observability/logger.ts';
import { createMetrics, type Metrics } from '../../src/observability/metrics.ts';
import type { QueueBackend } from '../../src/queue/backend.ts';
import { createReceiverGate } from '../../src/webhooks/receiver-gate.ts';
import { GIVE_UP_MS } from '../../src/webhooks/retry.ts';
import { createWebhookClient } from '../../src/webhooks/send.ts';
import { noDeployments, noValidations } from './generate-job.ts';
import { loopbackGuard, SECRET } from './webhook-receiver.ts';

/** What a test may set. */
export type TestWebhooksOptions = {
  readonly backend: QueueBackend;
  readonly queue: Pick<GenerateQueue, 'of' | 'notices'>;
  readonly logger: Logger;
  readonly metrics?: Pick<Metrics, 'deliveries' | 'deliverySeconds' | 'deliveryDelaySeconds'>;
  readonly present?: (record: GenerateRecord, copy?: Copy) => object | Promise<object>;
  readonly giveUpMs?: number;
  readonly copyGiveUpMs?: number;
  readonly deployments?: Pick<Deployments, 'follow'>;
  readonly validations?: Pick<Validations, 'follow'>;
  readonly timeoutMs?: number;
  readonly concurrency?: number;
  readonly secrets?: { of(owner: string): readonly string[] };
  readonly now?: () => number;
};

/** Opens webhooks over a queue; close them before it. */
export async function openTestWebhooks(options: TestWebhooksOptions) {
  const { backend, queue, logger, metrics = createMetrics(), giveUpMs = GIVE_UP_MS } = options;
  const { present = ({ id, status }) => ({ id, status }), timeoutMs, concurrency = 32, now } = options;
  const { copyGiveUpMs, deployments = noDeployments, validations = noValidations } = options;
  const { secrets = { of: () => [SECRET] } } = options;
  const clock = now && { now };
  const guard = loopbackGuard();
  const client = createWebhookClient({ guard, ...(timeoutMs !== undefined && { timeoutMs }) });
  const deliveries = await openDeliveries({ backend, giveUpMs, ...clock });
  const copies = await openCopies({
    backend,
    ...(copyGiveUpMs !== undefined && { giveUpMs: copyGiveUpMs }),
    ...clock,
  });
  const notifier = createNotifier({
    queue,
    deliveries,
    copies,
    deployments,
    validations,
    present,
    logger,
    ...clock,
  });
  return {
    guard,
    secrets,
    operator: [],
    deliveries,
    copies,
    notifier,
    handlers: {
      notify: notifier.sweep,
      webhook: createDeliverHandler({
        client,
        secrets,
        gate: createReceiverGate({ concurrency }),
        deliveries,
        metrics,
        logger,
        giveUpMs,
        userAgent: 'Loradrop/test',
        ...clock,
      }),
    },
    async close() {
      await notifier.close();
      client.close();
      await deliveries.close();
      await copies.close();
    },
  };
}
