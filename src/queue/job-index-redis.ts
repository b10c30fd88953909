import type { Cluster, Redis } from 'ioredis';
import type { IndexEntry, JobIndex } from './job-index.ts';

/** Digits of the largest time a member may carry: enough for any safe integer, so that text order is time order. */
const TIME_DIGITS = 16;

const toMember = ({ acceptedAt, id }: IndexEntry) => `${String(acceptedAt).padStart(TIME_DIGITS, '0')}.${id}`;
const toEntry = (member: string): IndexEntry => ({
  acceptedAt: Number(member.slice(0, TIME_DIGITS)),
  id: member.slice(TIME_DIGITS + 1),
});

/** A {@link JobIndex} in two sorted sets whose keys begin with `prefix`, which must keep both on one cluster node. */
export function redisJobIndex(redis: Redis | Cluster, prefix: string): JobIndex {
  // All scores of the first set are zero: its order is that of the members alone, which a page can go on from exactly.
  const byAge = `${prefix}:accepted`;
  const byExpiry = `${prefix}:expiry`;
  return {
    async add(entry, expiresAt) {
      const member = toMember(entry);
      await redis.multi().zadd(byAge, 'NX', 0, member).zadd(byExpiry, 'NX', expiresAt, member).exec();
    },
    async newest({ before, limit }) {
      const from = before ? `(${toMember(before)}` : '+';
      return (await redis.zrange(byAge, from, '-', 'BYLEX', 'REV', 'LIMIT', 0, limit)).map(toEntry);
    },
    async due(now, limit) {
      return (await redis.zrange(byExpiry, '-inf', String(now), 'BYSCORE', 'LIMIT', 0, limit)).map(toEntry);
    },
    async postpone(entry, expiresAt) {
      await redis.zadd(byExpiry, 'XX', expiresAt, toMember(entry));
    },
    async remove(entry) {
      const member = toMember(entry);
      await redis.multi().zrem(byAge, member).zrem(byExpiry, member).exec();
    },
  };
}
