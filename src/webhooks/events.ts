/** What a webhook can be about. */

/** How a fine-tuning job has ended, in the words and the shape of OpenAI's API. Other jobs have none of these events. */
export const FINE_TUNING_EVENTS = [
  'fine_tuning.job.succeeded',
  'fine_tuning.job.failed',
  'fine_tuning.job.cancelled',
] as const;
/** One of {@link FINE_TUNING_EVENTS}. */
export type FineTuningEvent = (typeof FINE_TUNING_EVENTS)[number];

/** Every event, in the order of a job's life. A job has one of the three that say how it ended. */
export const WEBHOOK_EVENTS = [
  'job.queued',
  'job.started',
  'job.progress',
  'job.succeeded',
  'job.failed',
  'job.canceled',
  'job.delivered',
  ...FINE_TUNING_EVENTS,
] as const;
/** One of {@link WEBHOOK_EVENTS}. */
export type WebhookEvent = (typeof WEBHOOK_EVENTS)[number];

/** The events of a webhook that names none: how the job has ended. */
export const DEFAULT_EVENTS: readonly WebhookEvent[] = ['job.succeeded', 'job.failed', 'job.canceled'];

/** True for the name of an event. */
export function isWebhookEvent(name: unknown): name is WebhookEvent {
  return WEBHOOK_EVENTS.includes(name as WebhookEvent);
}

/** True for the name of an event in OpenAI's shape. */
export function isFineTuningEvent(name: WebhookEvent): name is FineTuningEvent {
  return FINE_TUNING_EVENTS.includes(name as FineTuningEvent);
}
