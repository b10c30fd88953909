/** How a job of ours lies in a BullMQ record. */
import { randomUUID } from 'node:crypto';
import { Compile } from 'typebox/compile';
import { JOB_CATALOG, type JobName, type JobPayload } from '../jobs/catalog.ts';
import { queueErrors } from './errors.ts';

/** What cancellation notes: the job as it stood then, so that the record no longer moves. Times in milliseconds since the epoch. */
export type Cancellation = {
  readonly at: number;
  readonly attempts: number;
  readonly startedAt?: number;
};

/** The `data` of a BullMQ job. It is written by acceptance and, once, by cancellation; workers only read it. */
export type StoredJob = {
  /** Differs for every call of submit, which tells who created the record of an id. */
  readonly nonce: string;
  /**
   * The payload as JSON text. Text within JSON on purpose: PostgreSQL's jsonb refuses `\u0000` and lone surrogates,
   * both of which a prompt may hold.
   */
  readonly payload: string;
  readonly canceled?: Cancellation;
};

// BullMQ keeps its own Redis keys (`meta`, `wait`, `events` …) beside those of the jobs, so a bare id could name one.
const ID_PREFIX = 'j.';

/** BullMQ's id for a job of ours. */
export function toQueueId(id: string): string {
  return ID_PREFIX + id;
}

/** Our id from BullMQ's. A job that a scheduler made has an id of another form and keeps it. */
export function fromQueueId(queueId: string): string {
  return queueId.startsWith(ID_PREFIX) ? queueId.slice(ID_PREFIX.length) : queueId;
}

/** The stored form of a payload. */
export function storeJob<N extends JobName>(payload: JobPayload<N>): StoredJob {
  return { nonce: randomUUID(), payload: JSON.stringify(payload) };
}

const checks = new Map(Object.entries(JOB_CATALOG).map(([name, { payload }]) => [name, Compile(payload)]));

/**
 * The payload of a stored job, checked against the catalogue. Errors: `job-payload-invalid`, for instance for a job that
 * a newer version accepted.
 */
export function readPayload<N extends JobName>(name: N, stored: StoredJob): JobPayload<N> {
  const payload: unknown = JSON.parse(stored.payload);
  const check = checks.get(name);
  if (!check?.Check(payload)) {
    const fields = [...(check?.Errors(payload) ?? [])].map(({ instancePath, message }) => ({
      pointer: instancePath,
      message,
    }));
    throw queueErrors.badPayload('A worker of another version may have to run it.', { fields });
  }
  return payload as JobPayload<N>;
}
