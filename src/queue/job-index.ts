import type { TenantId } from '../base/ids.ts';

/** One accepted job as an index knows it. All fields together name the entry, so two entries of one id can be told apart. */
export type IndexEntry = TenantId & {
  /** Milliseconds since the epoch. */
  readonly acceptedAt: number;
};

/** What the index says of a job that has just joined its tenant's line. */
export type LinePlace = {
  /** Jobs of the tenant that go before it. */
  readonly ahead: number;
  /** Jobs of the tenant in the line, itself among them. */
  readonly waiting: number;
};

/**
 * The orders over jobs that BullMQ does not keep: newest first and the line of waiting jobs, both by tenant, and, over all,
 * next to expire and next to tell somebody of. An entry is written before its job is added, so every accepted job has one; an entry without a job is
 * a leftover of a crash, which readers skip and expiry removes.
 *
 * The line is by priority (9 first), then by time of acceptance. It is a hint for fairness and for positions: the jobs
 * themselves wait in BullMQ, and whoever acts on the line looks there first.
 */
export type JobIndex = {
  /**
   * Notes a job at the end of its time, in the line and, with `notifyAt`, among those of which somebody is to be told; all
   * in one step. Does nothing when the entry exists. `expiresAt` is the earliest moment worth looking at it.
   */
  add(
    entry: IndexEntry,
    options: { expiresAt: number; priority: number; notifyAt?: number },
  ): Promise<LinePlace>;
  /** Entries of a tenant by `acceptedAt` and then id, both falling, after `before`. */
  newest(tenant: string, options: { before?: IndexEntry; limit: number }): Promise<readonly IndexEntry[]>;
  /** Entries whose `expiresAt` is at or before `now`, the earliest first. */
  due(now: number, limit: number): Promise<readonly IndexEntry[]>;
  /** Looks at an entry again at `expiresAt`. */
  postpone(entry: IndexEntry, expiresAt: number): Promise<void>;
  /** Entries of which somebody is to be told and whose time for that is at or before `now`, the earliest first. */
  noticesDue(now: number, limit: number): Promise<readonly IndexEntry[]>;
  /** Looks at a notice again at `at`. Does nothing when there is none. */
  postponeNotice(entry: IndexEntry, at: number): Promise<void>;
  /** Nobody is to be told of the job any more. Idempotent. */
  dropNotice(entry: IndexEntry): Promise<void>;
  /** True while somebody is to be told of the job. */
  hasNotice(entry: IndexEntry): Promise<boolean>;
  /** Forgets an entry, and its notice. Idempotent. */
  remove(entry: IndexEntry): Promise<void>;
  /** Puts a noted job into the line (again). */
  enterLine(entry: IndexEntry, priority: number): Promise<void>;
  /** Takes a job out of the line. Idempotent. */
  leaveLine(entry: IndexEntry): Promise<void>;
  /** The first jobs of a tenant's line. */
  line(tenant: string, limit: number): Promise<readonly IndexEntry[]>;
  /** How many of the tenant go before the job; undefined when it is not in the line. */
  ahead(entry: IndexEntry): Promise<number | undefined>;
  /** Length of a tenant's line. */
  waiting(tenant: string): Promise<number>;
  /** Tenants whose line is not empty. */
  tenants(): Promise<readonly string[]>;
};
