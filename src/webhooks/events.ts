/** What a webhook can be about. */

/** Every event, in the order of a job's life. Of the last four but `job.delivered` a job has one. */
export const WEBHOOK_EVENTS = [
  'job.queued',
  'job.started',
  'job.progress',
  'job.succeeded',
  'job.failed',
  'job.canceled',
  'job.delivered',
] as const;
/** One of {@link WEBHOOK_EVENTS}. */
export type WebhookEvent = (typeof WEBHOOK_EVENTS)[number];

/** The events of a webhook that names none: how the job has ended. */
export const DEFAULT_EVENTS: readonly WebhookEvent[] = ['job.succeeded', 'job.failed', 'job.canceled'];

/** True for the name of an event. */
export function isWebhookEvent(name: unknown): name is WebhookEvent {
  return WEBHOOK_EVENTS.includes(name as WebhookEvent);
}
