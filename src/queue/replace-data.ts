/**
 * Replacing a job's data unless the job has ended, in one step. BullMQ has no such call, so these know how its version 6.7 keeps a
 * job; the suite that every backend passes shows when another version keeps it differently.
 */
import { DEFAULT_SCHEMA } from 'bullmq';
import type { Cluster, Redis } from 'ioredis';
import type { QueueBackend } from './backend.ts';
import type { SqlQueries } from './job-index-sql.ts';

type ReplaceData = QueueBackend['replaceDataUnlessEnded'];

/** KEYS: the job's hash. ARGV: its new data. A job that has ended has `finishedOn`. */
const SCRIPT = `
if redis.call('EXISTS', KEYS[1]) == 0 or redis.call('HEXISTS', KEYS[1], 'finishedOn') == 1 then return 0 end
redis.call('HSET', KEYS[1], 'data', ARGV[1])
return 1`;

/** On Redis: BullMQ's own scripts and this one run one after the other. */
export function redisReplaceData(redis: Redis | Cluster): ReplaceData {
  return async (queue, queueId, data) =>
    (await redis.eval(SCRIPT, 1, queue.toKey(queueId), JSON.stringify(data))) === 1;
}

/** On PostgreSQL: a row that is about to end is waited for, and then looked at again. */
export function sqlReplaceData(sql: SqlQueries): ReplaceData {
  return async (queue, queueId, data) => {
    const { rows } = await sql.query(
      `UPDATE ${DEFAULT_SCHEMA}.job SET data = $3::jsonb
       WHERE queue = $1 AND id = $2 AND state NOT IN ('completed', 'failed') RETURNING id`,
      [queue.name, queueId, JSON.stringify(data)],
    );
    return rows.length > 0;
  };
}
