/** The deliveries of a job's events: each is a job of its own, and the queue is where they are kept. */
import { sha256 } from '../base/digest.ts';
import type { TenantId } from '../base/ids.ts';
import type { QueueBackend } from '../queue/backend.ts';
import type { QueueCounts } from '../queue/queue.ts';
import { openServiceQueue, type ServiceJob } from '../queue/service-queue.ts';
import { webhookErrors } from '../webhooks/errors.ts';
import type { SendFailure } from '../webhooks/send.ts';
import { JOB_CATALOG, type Webhook, type WebhookPayload } from './catalog.ts';
import { followUpName } from './follow-up.ts';
import type { GenerateRecord } from './generate-queue.ts';

/** What the attempts at a delivery have come to so far; times in milliseconds since the epoch. */
export type DeliveryAttempts = {
  readonly attempts: number;
  /** It is given up at the first failure after this. */
  readonly giveUpAt: number;
  readonly lastAt?: number;
  /** What the receiver answered last. */
  readonly status?: number;
  /** Why it did not answer, or why it was not asked. */
  readonly failure?: SendFailure | 'secret-missing' | 'receiver-down';
  readonly nextAt?: number;
  /** Somebody asked for it by hand, so it is sent however the receiver fares. */
  readonly byHand?: true;
};

/** How a delivery ended: taken, tried for a day in vain, or not wanted by a receiver that is gone (410). */
export type DeliveryResult = DeliveryAttempts & { readonly outcome: 'delivered' | 'gave-up' | 'disabled' };

/** A delivery as it stands. */
export type Delivery = {
  /** 0-based number among those of one receiver, in the order of the job's life. */
  readonly number: number;
  readonly payload: WebhookPayload;
  readonly state: 'pending' | 'delivered' | 'failed' | 'disabled';
  readonly attempts: DeliveryAttempts;
};

/** Where deliveries are kept. */
export type Deliveries = {
  /** Those of one of a job's webhooks, in order. */
  list(record: GenerateRecord, webhook: number): Promise<readonly Delivery[]>;
  /** Adds the delivery of this number durably, unless there is one. */
  add(
    record: GenerateRecord,
    delivery: Pick<WebhookPayload, 'webhook' | 'event' | 'fraction' | 'body' | 'createdAt'> & {
      readonly number: number;
    },
  ): Promise<void>;
  /** Sends an ended delivery once more, whatever came of it. Errors: `delivery-not-found`, `delivery-pending`. */
  replay(record: GenerateRecord, webhook: number, number: number): Promise<Delivery>;
  /** Takes up again deliveries that were put off, by the ids of their jobs. */
  resume(which: readonly TenantId[]): Promise<void>;
  /** Removes what a job's webhooks have left, which ends with its record. */
  removeAll(record: GenerateRecord): Promise<void>;
  counts(): Promise<QueueCounts>;
  close(): Promise<void>;
};

/** Deliveries read at a time: a job has one as a rule, and about fifteen at most. */
const READ_BATCH = 4;

/** The webhook of a job that its request named, as an index into `webhooks`; -1 when there is none. */
export function requestWebhook(webhooks: readonly Webhook[] = []): number {
  return webhooks.findIndex(({ operator }) => operator !== true);
}

function nameOf(record: GenerateRecord, webhook: number, number: number): TenantId {
  const { tenant, id } = followUpName(record);
  return { tenant, id: `${id}-${webhook}-${number}` };
}

/** The id of the job that a delivery's job is about. */
export function jobOfDelivery(id: string): string {
  return id.replace(/--[0-9]+-[0-9]+-[0-9]+$/, '');
}

/** Opens the queue of deliveries. Errors: `queue-unavailable`. */
export async function openDeliveries(options: {
  backend: QueueBackend;
  /** Deliveries are tried for this long. */
  giveUpMs: number;
  now?: () => number;
}): Promise<Deliveries> {
  const { backend, giveUpMs, now = Date.now } = options;
  const queue = await openServiceQueue<WebhookPayload, DeliveryResult>({
    backend,
    name: 'webhook',
    ...JOB_CATALOG.webhook.timing,
  });

  async function find(record: GenerateRecord, webhook: number, number: number) {
    const job = await queue.find(nameOf(record, webhook, number));
    return job && present(job, number, giveUpMs);
  }

  async function list(record: GenerateRecord, webhook: number): Promise<Delivery[]> {
    const found: Delivery[] = [];
    for (;;) {
      const numbers = Array.from({ length: READ_BATCH }, (_, at) => found.length + at);
      const batch = await Promise.all(numbers.map((number) => find(record, webhook, number)));
      const end = batch.indexOf(undefined);
      found.push(...(batch.slice(0, end === -1 ? undefined : end) as Delivery[]));
      if (end !== -1) return found;
    }
  }

  return {
    list,
    async add(record, { number, ...delivery }) {
      const { url, operator } = record.payload.webhooks![delivery.webhook]!;
      const name = nameOf(record, delivery.webhook, number);
      const payload = {
        ...delivery,
        jobId: record.id,
        jobAcceptedAt: record.payload.acceptedAt,
        url,
        ...(operator && { operator }),
        messageId: `msg_${sha256(`${name.tenant}/${name.id}`).slice(0, 32)}`,
      };
      await queue.add(name, payload, record.origin);
    },
    async replay(record, webhook, number) {
      const delivery = webhook < 0 ? undefined : await find(record, webhook, number);
      if (!delivery) throw webhookErrors.deliveryNotFound('`GET` its deliveries lists those there are.');
      const { nextAt: _, ...attempts } = delivery.attempts;
      const again: DeliveryAttempts = { ...attempts, giveUpAt: now() + giveUpMs, byHand: true };
      if (!(await queue.repeat(nameOf(record, webhook, number), again))) {
        throw webhookErrors.deliveryPending('It is under way, or waits to be tried again.');
      }
      return { ...delivery, state: 'pending', attempts: again };
    },
    async resume(which) {
      await Promise.all(which.map((each) => queue.promote(each)));
    },
    async removeAll(record) {
      for (const webhook of (record.payload.webhooks ?? []).keys()) {
        // From the end, so that those left by a crash are still found.
        for (const { number } of (await list(record, webhook)).reverse()) {
          await queue.remove(nameOf(record, webhook, number));
        }
      }
    },
    counts: () => queue.counts(),
    close: () => queue.close(),
  };
}

/** The attempts of a delivery that none was made at yet. */
export function noAttempts({ createdAt }: WebhookPayload, giveUpMs: number): DeliveryAttempts {
  return { attempts: 0, giveUpAt: createdAt + giveUpMs };
}

const STATES = { delivered: 'delivered', 'gave-up': 'failed', disabled: 'disabled' } as const;

function present(
  { payload, state, result, note }: ServiceJob<WebhookPayload, DeliveryResult>,
  number: number,
  giveUpMs: number,
): Delivery {
  const attempts = result ?? (note as DeliveryAttempts | undefined) ?? noAttempts(payload, giveUpMs);
  return {
    number,
    payload,
    state: state === 'pending' ? 'pending' : result ? STATES[result.outcome] : 'failed',
    attempts,
  };
}
