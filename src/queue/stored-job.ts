/** How a job of ours lies in a BullMQ record. */
import { randomUUID } from 'node:crypto';
import { DEFAULT_TENANT, type TenantId } from '../base/ids.ts';
import type { JobEnvelope, JobOrigin, Notify } from './queue.ts';

/** What cancellation notes: the job as it stood then, so that the record no longer moves. Times in milliseconds since the epoch. */
export type Cancellation = {
  readonly at: number;
  readonly attempts: number;
  readonly startedAt?: number;
};

/**
 * The `data` of a BullMQ job. It is written by acceptance and, once, by cancellation; the worker that holds a job which
 * nobody cancels may leave a note in it.
 */
export type StoredJob = {
  /** Differs for every call of submit, which tells who created the record of an id. */
  readonly nonce: string;
  /**
   * The payload as JSON text. Text within JSON on purpose: PostgreSQL's jsonb refuses `\u0000` and lone surrogates,
   * both of which a prompt may hold.
   */
  readonly payload: string;
  /** Jobs of its tenant that may run at once, as it was when the job was accepted; absent: any number. */
  readonly maxRunning?: number;
  /** Somebody is to be told of the job. */
  readonly notify?: Notify;
  readonly origin?: JobOrigin;
  /** JSON text that a run left for the next one (see `PutOff`). */
  readonly note?: string;
  readonly canceled?: Cancellation;
};

// BullMQ keeps its own Redis keys (`meta`, `wait`, `events` …) beside those of the jobs, so a bare id could name one.
const DEFAULT_PREFIX = 'j.';
const TENANT_PREFIX = 't.';

/** BullMQ's id for a job of ours. Ids and tenants hold no dot. Jobs of the default tenant look as before there were tenants. */
export function toQueueId({ tenant, id }: TenantId): string {
  return tenant === DEFAULT_TENANT ? DEFAULT_PREFIX + id : `${TENANT_PREFIX}${tenant}.${id}`;
}

/** Our name of a job from BullMQ's id. A job that a scheduler made has an id of another form and keeps it. */
export function fromQueueId(queueId: string): TenantId {
  if (queueId.startsWith(DEFAULT_PREFIX)) {
    return { tenant: DEFAULT_TENANT, id: queueId.slice(DEFAULT_PREFIX.length) };
  }
  const parts = /^t\.([^.]+)\.([^.]+)$/.exec(queueId);
  return parts ? { tenant: parts[1]!, id: parts[2]! } : { tenant: DEFAULT_TENANT, id: queueId };
}

/** The stored form of a payload. */
export function storeJob(
  payload: unknown,
  {
    maxRunning,
    notify,
    origin,
  }: { maxRunning?: number; notify?: Notify; origin?: JobOrigin | undefined } = {},
): StoredJob {
  return {
    nonce: randomUUID(),
    payload: JSON.stringify(payload),
    ...(maxRunning !== undefined && { maxRunning }),
    ...(notify && { notify }),
    ...(origin && { origin }),
  };
}

/** What the queue reads of a stored payload, unchecked: the queue wrote it. */
export function envelopeOf({ payload }: StoredJob): JobEnvelope {
  return JSON.parse(payload) as JobEnvelope;
}
