/** Copies of a job's adapters to its destination: a job of their own, kept in a queue of their own. */
import type { QueueBackend } from '../queue/backend.ts';
import type { JobFailure, QueueCounts } from '../queue/queue.ts';
import { openServiceQueue, type ServiceJob } from '../queue/service-queue.ts';
import { type CopyPayload, JOB_CATALOG } from './catalog.ts';
import { followUpName } from './follow-up.ts';
import type { GenerateRecord } from './generate-queue.ts';

const hour = 3_600_000;

/** A copy is given up this long after the job succeeded. */
export const COPY_GIVE_UP_MS = 24 * hour;
/** An adapter is kept at least this long for its copy: until that is given up, and for as long as the other adapters of a job may take. */
export const COPY_SOURCE_KEPT_MS = COPY_GIVE_UP_MS + 2 * hour;

/** What the attempts at a copy have come to so far; times in milliseconds since the epoch. */
export type CopyAttempts = {
  readonly attempts: number;
  /** It is given up at the first failure after this. */
  readonly giveUpAt: number;
  readonly lastAt?: number;
  readonly nextAt?: number;
  /** Why the last attempt failed. */
  readonly failure?: JobFailure;
};

/** How a copy ended: all files are there, or it was given up. */
export type CopyResult = CopyAttempts & {
  readonly outcome: 'delivered' | 'failed';
  readonly endedAt: number;
};

/** A job's copy as it stands. */
export type Copy = {
  /** `failed` too where there is nothing to copy, since the job did not succeed. */
  readonly state: 'pending' | 'delivered' | 'failed';
  readonly attempts: number;
  readonly lastAt?: number;
  readonly nextAt?: number;
  /** Why the last attempt failed. */
  readonly failure?: JobFailure;
  /** When it ended. */
  readonly endedAt?: number;
};

/** Where copies are kept. */
export type Copies = {
  /** The job's copy; undefined when the job has no destination. */
  find(record: GenerateRecord): Promise<Copy | undefined>;
  /** The same, and the copy of a job that has succeeded is durably in the queue then. */
  follow(record: GenerateRecord): Promise<Copy | undefined>;
  /** Removes what belongs to a job, which ends with its record. Idempotent. */
  remove(record: GenerateRecord): Promise<void>;
  counts(): Promise<QueueCounts>;
  close(): Promise<void>;
};

/** Opens the queue of copies. Errors: `queue-unavailable`. */
export async function openCopies(options: {
  backend: QueueBackend;
  giveUpMs?: number;
  now?: () => number;
}): Promise<Copies> {
  const { backend, giveUpMs = COPY_GIVE_UP_MS, now = Date.now } = options;
  const queue = await openServiceQueue<CopyPayload, CopyResult>({
    backend,
    name: 'copy',
    ...JOB_CATALOG.copy.timing,
  });

  async function find(record: GenerateRecord): Promise<Copy | undefined> {
    if (!record.payload.destination) return undefined;
    const job = await queue.find(followUpName(record));
    return job ? present(job) : copyToCome(record);
  }

  return {
    find,
    async follow(record) {
      const { destination, adapterIds, acceptedAt } = record.payload;
      const job = destination && (await queue.find(followUpName(record)));
      if (job || !destination || record.status !== 'succeeded')
        return job ? present(job) : copyToCome(record);
      await queue.add(followUpName(record), {
        jobId: record.id,
        jobAcceptedAt: acceptedAt,
        adapterIds,
        destination,
        giveUpAt: now() + giveUpMs,
      });
      return copyToCome(record);
    },
    remove: (record) => (record.payload.destination ? queue.remove(followUpName(record)) : Promise.resolve()),
    counts: () => queue.counts(),
    close: () => queue.close(),
  };
}

/** The copy of a job for which none has begun: to come, unless the job has nothing to copy. */
export function copyToCome({ payload, status, failure }: GenerateRecord): Copy | undefined {
  if (!payload.destination) return undefined;
  if (status !== 'failed' && status !== 'canceled') return { state: 'pending', attempts: 0 };
  return { state: 'failed', attempts: 0, ...(failure && { failure }) };
}

/** The attempts of a copy that none was made at yet. */
export function noCopyAttempts({ giveUpAt }: CopyPayload): CopyAttempts {
  return { attempts: 0, giveUpAt };
}

function present({ payload, state, result, note }: ServiceJob<CopyPayload, CopyResult>): Copy {
  const { giveUpAt: _, ...attempts } =
    result ?? (note as CopyAttempts | undefined) ?? noCopyAttempts(payload);
  const { outcome = 'failed', ...known } = attempts as Partial<CopyResult> & typeof attempts;
  return { ...known, state: state === 'pending' ? 'pending' : outcome };
}
