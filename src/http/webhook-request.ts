/** What a request asks to be told → who is told of its job. */
import { LoradropError } from '../base/errors.ts';
import type { Webhook } from '../jobs/catalog.ts';
import { webhookErrors } from '../webhooks/errors.ts';
import { DEFAULT_EVENTS, isWebhookEvent, WEBHOOK_EVENTS, type WebhookEvent } from '../webhooks/events.ts';
import type { GenerateRequest } from './schemas.ts';
import type { HttpServices } from './services.ts';

/**
 * The receivers of a job, the request's first. Its address is looked up, so that a client hears at once of one that could
 * never be called. Errors: `webhook-url-invalid`, `webhook-address-refused`, `webhook-unresolvable`,
 * `webhook-secret-missing`.
 */
export async function webhooksOf(
  { webhook }: Pick<GenerateRequest, 'webhook'>,
  { guard, secrets, operator }: HttpServices['webhooks'],
  tenant: string,
): Promise<Webhook[]> {
  if (!webhook) return [...operator];
  if (secrets.of(tenant).length === 0) {
    throw webhookErrors.secretMissing(
      `The operator makes it with \`loradrop webhooks secret create --tenant ${tenant}\`.`,
      { fields: [{ pointer: '/webhook', message: 'could not be signed' }] },
    );
  }
  await guard.check(webhook.url).catch((error) => {
    if (!(error instanceof LoradropError)) throw error;
    const { code, title, retryable, message, cause } = error;
    throw new LoradropError({ code, title, retryable }, message, {
      cause,
      fields: [{ pointer: '/webhook/url', message: 'cannot be called' }],
    });
  });
  return [{ url: webhook.url, events: [...(webhook.events ?? DEFAULT_EVENTS)] }, ...operator];
}

/** Refuses a list of events that cannot be one. Errors: `webhook-events-invalid`. */
export function refuseEvents(webhook: unknown): void {
  const { events } = Object(webhook) as { events?: unknown };
  if (!Array.isArray(events)) return;
  const wrong = (detail: string) =>
    webhookErrors.eventsInvalid(detail, {
      fields: [{ pointer: '/webhook/events', message: `takes some of ${WEBHOOK_EVENTS.join(', ')}` }],
    });
  if (events.length === 0) throw wrong('The list is empty. Leave it out for the default ones.');
  if (events.length > WEBHOOK_EVENTS.length) throw wrong('The list is longer than there are events.');
  if (!events.every(isWebhookEvent)) throw wrong('An event of the list does not exist.');
  if (new Set(events).size < events.length) throw wrong('An event is in the list twice.');
}

/** True when a receiver wants to hear of this. */
export function wants(event: WebhookEvent, webhooks: readonly Webhook[] = []): boolean {
  return webhooks.some(({ events }) => events.includes(event));
}
