/** One accepted job as an index knows it. Both fields together name the entry, so two entries of one id can be told apart. */
export type IndexEntry = {
  readonly id: string;
  /** Milliseconds since the epoch. */
  readonly acceptedAt: number;
};

/**
 * The two orders over jobs that BullMQ does not keep: newest first, and next to expire. An entry is written before its
 * job is added, so every accepted job has one; an entry without a job is a leftover of a crash, which readers skip and
 * expiry removes.
 */
export type JobIndex = {
  /** Notes a job. Does nothing when the entry exists. `expiresAt` is the earliest moment worth looking at it. */
  add(entry: IndexEntry, expiresAt: number): Promise<void>;
  /** Entries by `acceptedAt` and then id, both falling, after `before`. */
  newest(options: { before?: IndexEntry; limit: number }): Promise<readonly IndexEntry[]>;
  /** Entries whose `expiresAt` is at or before `now`, the earliest first. */
  due(now: number, limit: number): Promise<readonly IndexEntry[]>;
  /** Looks at an entry again at `expiresAt`. */
  postpone(entry: IndexEntry, expiresAt: number): Promise<void>;
  /** Forgets an entry. Idempotent. */
  remove(entry: IndexEntry): Promise<void>;
};
