/** The parts of webhooks put together: what the API asks of them, and the handlers of their jobs. */
import { join } from 'node:path';
import { VERSION } from '../base/version.ts';
import type { Logger } from '../observability/logger.ts';
import type { Metrics } from '../observability/metrics.ts';
import type { Tracing } from '../observability/tracing.ts';
import { type AddressGuard, createAddressGuard } from '../webhooks/address-guard.ts';
import { webhookErrors } from '../webhooks/errors.ts';
import { isWebhookEvent, WEBHOOK_EVENTS } from '../webhooks/events.ts';
import { parseAllowList } from '../webhooks/networks.ts';
import { createReceiverGate } from '../webhooks/receiver-gate.ts';
import { GIVE_UP_MS } from '../webhooks/retry.ts';
import { OPERATOR } from '../webhooks/secret-file.ts';
import { openSecretRing, type SecretRing } from '../webhooks/secret-ring.ts';
import { createWebhookClient } from '../webhooks/send.ts';
import type { Webhook } from './catalog.ts';
import type { Copies, Copy } from './copies.ts';
import { createDeliverHandler } from './deliver.ts';
import type { Deliveries } from './deliveries.ts';
import type { Deployments } from './deployments.ts';
import type { GenerateQueue, GenerateRecord } from './generate-queue.ts';
import { createNotifier, type Notifier } from './notify.ts';
import type { Validations } from './validations.ts';
import type { JobHandler } from './workers.ts';

/** Options of {@link openWebhooks}; the texts are those of the settings. */
export type WebhooksOptions = {
  readonly queue: Pick<GenerateQueue, 'of' | 'notices'>;
  readonly deliveries: Deliveries;
  readonly copies: Pick<Copies, 'follow'>;
  readonly deployments: Pick<Deployments, 'follow'>;
  readonly validations: Pick<Validations, 'follow'>;
  readonly present: (record: GenerateRecord, copy?: Copy) => object | Promise<object>;
  readonly metrics: Pick<Metrics, 'deliveries' | 'deliverySeconds' | 'deliveryDelaySeconds'>;
  readonly tracing?: Tracing | undefined;
  readonly logger: Logger;
  readonly allow: string;
  readonly ports: string;
  readonly endpoints: string;
  readonly endpointEvents: string;
  readonly secretsFile: string | undefined;
  readonly dataDirectory: string;
  readonly concurrency: number;
};

/** Webhooks of a running service. */
export type Webhooks = {
  readonly guard: Pick<AddressGuard, 'check'>;
  readonly secrets: Pick<SecretRing, 'of' | 'damage'>;
  /** The operator's own receivers, who hear of every job. */
  readonly operator: readonly Webhook[];
  readonly notifier: Notifier;
  readonly handlers: { readonly webhook: JobHandler<'webhook'>; readonly notify: JobHandler<'notify'> };
  /** Ends steps and connections. The queues stay the caller's. */
  close(): Promise<void>;
};

/** Where the secrets are that no setting names. */
export function webhookSecretsFile(file: string | undefined, dataDirectory: string): string {
  return file ?? join(dataDirectory, 'webhook-secrets.json');
}

/** Puts webhooks together. Errors: `webhook-settings-invalid`, `webhook-secrets-file-invalid`, `webhook-secret-missing`. */
export async function openWebhooks(options: WebhooksOptions): Promise<Webhooks> {
  const { queue, deliveries, copies, deployments, validations, present } = options;
  const { metrics, logger, concurrency } = options;
  const guard = createAddressGuard({
    allow: parseAllowList(options.allow),
    ports: parsePorts(options.ports),
  });
  const operator = parseEndpoints(options, guard);
  const secrets = await openSecretRing({
    path: webhookSecretsFile(options.secretsFile, options.dataDirectory),
    required: options.secretsFile !== undefined,
    onChange: (damage) =>
      damage
        ? logger.error({ err: damage }, 'the file of webhook secrets cannot be used; the last good ones hold')
        : logger.info('webhook secrets read anew'),
  });
  if (operator.length > 0 && secrets.of(OPERATOR).length === 0) {
    await secrets.close();
    throw webhookErrors.secretMissing(
      'WEBHOOK_ENDPOINTS needs one: make it with `loradrop webhooks secret create --operator`.',
    );
  }
  const client = createWebhookClient({ guard });
  const notifier = createNotifier({ queue, deliveries, copies, deployments, validations, present, logger });
  return {
    guard,
    secrets,
    operator,
    notifier,
    handlers: {
      notify: notifier.sweep,
      webhook: createDeliverHandler({
        client,
        secrets,
        gate: createReceiverGate({ concurrency }),
        deliveries,
        metrics,
        tracing: options.tracing,
        logger,
        giveUpMs: GIVE_UP_MS,
        userAgent: `Loradrop/${VERSION}`,
      }),
    },
    async close() {
      await notifier.close();
      client.close();
      await secrets.close();
    },
  };
}

function parsePorts(text: string): number[] {
  const ports = text.split(',').map(Number);
  if (ports.some((port) => !Number.isInteger(port) || port < 1 || port > 65_535)) {
    throw webhookErrors.settings('WEBHOOK_PORTS takes ports separated by commas.');
  }
  return ports;
}

function parseEndpoints(
  { endpoints, endpointEvents }: Pick<WebhooksOptions, 'endpoints' | 'endpointEvents'>,
  guard: AddressGuard,
): Webhook[] {
  const events = endpointEvents.split(/[\s,]+/).filter(Boolean);
  if (!events.every(isWebhookEvent)) {
    throw webhookErrors.settings(`WEBHOOK_ENDPOINT_EVENTS takes some of ${WEBHOOK_EVENTS.join(', ')}.`);
  }
  return endpoints
    .split(/\s+/)
    .filter(Boolean)
    .map((url, index) => {
      try {
        guard.parse(url);
      } catch (cause) {
        // The address may hold a secret, so its place has to do.
        const reason = cause instanceof Error ? cause.message : '';
        throw webhookErrors.settings(`Address ${index + 1} of WEBHOOK_ENDPOINTS: ${reason}`, { cause });
      }
      return { url, events, operator: true };
    });
}
