/** Whether a Redis lets the queue do what it needs: asked at the start and by readiness, since BullMQ alone would only log it. */
import { type Cluster, Redis } from 'ioredis';
import { queueErrors } from './errors.ts';

/** Long enough to be a blocking call, short enough to wait for. */
const BLOCK_S = 0.01;
/** The probe's keys go by themselves where a process ends between two commands. */
const PROBE_EXPIRY_S = 60;

/** The code at the head of a reply that refuses: `NOPERM`, `READONLY`, `NOAUTH` … */
export function refusalCode(error: unknown): string | undefined {
  return error instanceof Error ? /^([A-Z]{3,}) /.exec(error.message)?.[1] : undefined;
}

/** Codes that only another user or password helps against. */
const LOGIN_REFUSALS = new Set(['NOAUTH', 'WRONGPASS']);

/**
 * The code with which a server, a sentinel or a node of a cluster refuses the login; undefined for other failures of a
 * connection. ioredis wraps what the latter two said.
 */
export function loginRefusal(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const { lastNodeError } = error as { lastNodeError?: unknown };
  const wrapped = /Last error: ([A-Z]{3,}) /.exec(error.message)?.[1];
  const code = refusalCode(error) ?? wrapped ?? refusalCode(lastNodeError);
  return code !== undefined && LOGIN_REFUSALS.has(code) ? code : undefined;
}

/** What the queue does, each by the command that Redis would refuse. */
const NEEDS: readonly (readonly [string, (redis: Redis | Cluster, key: string) => Promise<unknown>])[] = [
  ['set', (redis, key) => redis.set(key, '', 'EX', PROBE_EXPIRY_S)],
  ['eval', (redis, key) => redis.eval('return redis.call("exists", KEYS[1])', 1, key)],
  ['multi', (redis, key) => redis.multi().exists(key).exec()],
  ['zadd', (redis, key) => redis.zadd(`${key}:set`, 0, 'x')],
  ['zrange', (redis, key) => redis.zrange(`${key}:set`, 0, '0')],
  ['bzpopmin', (redis, key) => redis.bzpopmin(`${key}:set`, BLOCK_S)],
  ['xadd', (redis, key) => redis.xadd(`${key}:stream`, 'MAXLEN', '1', '*', 'x', '')],
  ['xread', (redis, key) => redis.xread('COUNT', 1, 'STREAMS', `${key}:stream`, '0')],
  ['del', (redis, key) => redis.del(key, `${key}:set`, `${key}:stream`)],
];

/**
 * Runs each kind of command that the queue needs once, on keys that begin with `key`. Errors: `queue-refused` naming the
 * command; connection failures pass through.
 */
export async function checkRedisNeeds(redis: Redis | Cluster, key: string): Promise<void> {
  for (const [command, run] of NEEDS) {
    await run(redis, key).catch((cause: unknown) => {
      const code = refusalCode(cause);
      if (code === undefined) throw cause;
      throw queueErrors.refused(`It refuses \`${command}\` with ${code}. ${adviceFor(code)}`, { cause });
    });
  }
}

function adviceFor(code: string): string {
  if (code === 'NOPERM') return 'Give its user this command, and the keys `{loradrop}:*`.';
  if (code === 'READONLY') return 'It is a replica: name the master, or use redis+sentinel://.';
  if (code === 'NOAUTH' || code === 'WRONGPASS') return 'Put the right user and password into QUEUE_URL.';
  return 'Its log and its settings tell why.';
}

/**
 * Makes sure that the connection is in the database that the address names: ioredis goes on in database 0 where the server
 * has no such one. Errors: `queue-address-invalid`.
 */
export async function checkDatabase(redis: Redis | Cluster, database: number): Promise<void> {
  if (!(redis instanceof Redis) || database === 0) return;
  await redis.select(database).catch((cause: unknown) => {
    throw queueErrors.badAddress(
      `The Redis server has no database ${database}, or does not let its user go there. Name one that it has (its setting \`databases\`).`,
      { cause },
    );
  });
}
