/** A delivery of a webhook → what clients see of it. */
import type { Delivery } from '../jobs/deliveries.ts';
import { deliveryReplayUrl } from './links.ts';
import type { DeliveryView } from './schemas.ts';

const isoTime = (ms: number) => new Date(ms).toISOString();

/** The delivery as its job's owner sees it: never what the receiver has written. */
export function presentDelivery({ number, payload, state, attempts }: Delivery): DeliveryView {
  const { lastAt, nextAt, status, failure } = attempts;
  return {
    n: number,
    id: payload.messageId,
    event: payload.event,
    state,
    attempts: attempts.attempts,
    createdAt: isoTime(payload.createdAt),
    ...(lastAt !== undefined && { lastAttemptAt: isoTime(lastAt) }),
    ...(nextAt !== undefined && state === 'pending' && { nextAttemptAt: isoTime(nextAt) }),
    ...(status !== undefined && { status }),
    ...(failure !== undefined && { failure }),
    urls: { replay: deliveryReplayUrl(payload.jobId, number) },
  };
}
