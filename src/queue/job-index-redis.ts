import type { Cluster, Redis } from 'ioredis';
import { DEFAULT_TENANT } from '../base/ids.ts';
import { queueErrors } from './errors.ts';
import type { IndexEntry, JobIndex } from './job-index.ts';

/** Digits of the largest time a member may carry: enough for any safe integer, so that text order is time order. */
const TIME_DIGITS = 16;
/** Above any time in milliseconds of the next hundred years; ten priorities above it still are exact doubles. */
const PRIORITY_STEP = 2 ** 43;
const HIGHEST_PRIORITY = 9;

/** Entries from before there were tenants name none, and new ones of the default tenant have the same form. */
const nameOf = ({ tenant, id }: IndexEntry) => (tenant === DEFAULT_TENANT ? id : `${tenant}/${id}`);
const toMember = (entry: IndexEntry) =>
  `${String(entry.acceptedAt).padStart(TIME_DIGITS, '0')}.${nameOf(entry)}`;
const toEntry = (member: string): IndexEntry => {
  const name = member.slice(TIME_DIGITS + 1);
  const slash = name.indexOf('/');
  return {
    acceptedAt: Number(member.slice(0, TIME_DIGITS)),
    tenant: slash === -1 ? DEFAULT_TENANT : name.slice(0, slash),
    id: name.slice(slash + 1),
  };
};
const scoreOf = ({ acceptedAt }: IndexEntry, priority: number) =>
  (HIGHEST_PRIORITY - priority) * PRIORITY_STEP + acceptedAt;

/** The replies of a transaction. Errors: the first failure among them, which ioredis leaves among the replies. */
function replies(results: [Error | null, unknown][] | null): unknown[] {
  if (!results) throw queueErrors.unavailable('Redis dropped a transaction.');
  return results.map(([error, reply]) => {
    if (error) throw error;
    return reply;
  });
}

/** A {@link JobIndex} in sorted sets whose keys begin with `prefix`, which must keep them on one cluster node. */
export function redisJobIndex(redis: Redis | Cluster, prefix: string): JobIndex {
  // All scores of the first sets are zero: their order is that of the members alone, which a page can go on from exactly.
  const byAge = (tenant: string) =>
    tenant === DEFAULT_TENANT ? `${prefix}:accepted` : `${prefix}:accepted:${tenant}`;
  const byExpiry = `${prefix}:expiry`;
  const byNotice = `${prefix}:notices`;
  const lineOf = (tenant: string) => `${prefix}:line:${tenant}`;
  const tenantsKey = `${prefix}:tenants`;
  return {
    async add(entry, { expiresAt, priority, notifyAt }) {
      const member = toMember(entry);
      const line = lineOf(entry.tenant);
      const transaction = redis.multi();
      if (notifyAt !== undefined) transaction.zadd(byNotice, 'NX', notifyAt, member);
      const results = await transaction
        .zadd(byAge(entry.tenant), 'NX', 0, member)
        .zadd(byExpiry, 'NX', expiresAt, member)
        .zadd(line, 'NX', scoreOf(entry, priority), member)
        .sadd(tenantsKey, entry.tenant)
        .zrank(line, member)
        .zcard(line)
        .exec();
      const [ahead, waiting] = replies(results).slice(-2);
      return { ahead: Number(ahead), waiting: Number(waiting) };
    },
    async newest(tenant, { before, limit }) {
      const from = before ? `(${toMember(before)}` : '+';
      return (await redis.zrange(byAge(tenant), from, '-', 'BYLEX', 'REV', 'LIMIT', 0, limit)).map(toEntry);
    },
    async due(now, limit) {
      return (await redis.zrange(byExpiry, '-inf', String(now), 'BYSCORE', 'LIMIT', 0, limit)).map(toEntry);
    },
    async postpone(entry, expiresAt) {
      await redis.zadd(byExpiry, 'XX', expiresAt, toMember(entry));
    },
    async noticesDue(now, limit) {
      return (await redis.zrange(byNotice, '-inf', String(now), 'BYSCORE', 'LIMIT', 0, limit)).map(toEntry);
    },
    async postponeNotice(entry, at) {
      await redis.zadd(byNotice, 'XX', at, toMember(entry));
    },
    async dropNotice(entry) {
      await redis.zrem(byNotice, toMember(entry));
    },
    async hasNotice(entry) {
      return (await redis.zscore(byNotice, toMember(entry))) !== null;
    },
    async remove(entry) {
      const member = toMember(entry);
      const transaction = redis.multi().zrem(byAge(entry.tenant), member).zrem(byExpiry, member);
      transaction.zrem(byNotice, member);
      replies(await transaction.zrem(lineOf(entry.tenant), member).exec());
    },
    async enterLine(entry, priority) {
      const transaction = redis.multi().sadd(tenantsKey, entry.tenant);
      replies(await transaction.zadd(lineOf(entry.tenant), scoreOf(entry, priority), toMember(entry)).exec());
    },
    async leaveLine(entry) {
      await redis.zrem(lineOf(entry.tenant), toMember(entry));
    },
    async line(tenant, limit) {
      return (await redis.zrange(lineOf(tenant), 0, String(limit - 1))).map(toEntry);
    },
    async ahead(entry) {
      return (await redis.zrank(lineOf(entry.tenant), toMember(entry))) ?? undefined;
    },
    waiting: (tenant) => redis.zcard(lineOf(tenant)),
    async tenants() {
      const names = await redis.smembers(tenantsKey);
      const lengths = await Promise.all(names.map((tenant) => redis.zcard(lineOf(tenant))));
      return names.filter((_, at) => lengths[at]! > 0);
    },
  };
}
