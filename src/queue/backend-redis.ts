import { randomUUID } from 'node:crypto';
import { createRedisBackend } from 'bullmq';
import { Cluster, Redis } from 'ioredis';
import { RateLimiterRedis } from 'rate-limiter-flexible';
import type { LoradropError } from '../base/errors.ts';
import type { Logger } from '../observability/logger.ts';
import { createOutageLog } from '../observability/outage-log.ts';
import type { QueueBackend } from './backend.ts';
import { bullObjects, KEY_PREFIX } from './bull-objects.ts';
import { queueErrors } from './errors.ts';
import { redisJobIndex } from './job-index-redis.ts';
import { parseRedisAddress, type RedisAddress } from './redis-address.ts';
import { checkDatabase, checkRedisNeeds, loginRefusal } from './redis-needs.ts';
import { redisReplaceData } from './replace-data.ts';
import { createRequestRates } from './request-rates.ts';
import { withQueueTimeout } from './with-queue-timeout.ts';

/** A healthy Redis answers in milliseconds; a client of the API should hear of a dead one before it gives up itself. */
const ANSWER_TIMEOUT_MS = 2000;
/** Pauses between attempts to connect grow to this: soon back after a restart, no flood while it is down. */
const MAX_RECONNECT_PAUSE_MS = 1000;
/** An event wakes the reader at once; this only bounds how long a broken connection may look alive. */
const EVENT_WAIT_MS = 5000;

/** Where the server is asked what it lets the queue do; each process has its own, since the probe's steps belong together. */
const PROBE_KEY = `${KEY_PREFIX}:probe:${randomUUID()}`;
/** How failures look whose connection is down or goes just now. */
const CONNECTION_FAILURE = /^(ECONN|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN)/;

const retryStrategy = (times: number) => Math.min(times * 50, MAX_RECONNECT_PAUSE_MS);
// After a failover the old master may still answer, but it refuses writes: go and find the new one, then send again.
const reconnectOnError = (error: Error) => (error.message.startsWith('READONLY') ? 2 : false);

/** How a connection behaves while the server is away. */
type Role = { enableOfflineQueue: boolean; maxRetriesPerRequest: number | null; commandTimeout?: number };

function connect({ options, clusterNodes }: RedisAddress, role: Role): Redis | Cluster {
  if (clusterNodes) {
    const { enableOfflineQueue, ...perNode } = role;
    return new Cluster([...clusterNodes], {
      clusterRetryStrategy: retryStrategy,
      enableOfflineQueue,
      redisOptions: { ...options, ...perNode },
    });
  }
  return new Redis({ ...options, ...role, retryStrategy, reconnectOnError });
}

/** Waits for the first connection, since from then on producers fail at once instead of waiting. */
async function connected(redis: Redis | Cluster): Promise<void> {
  if (redis.status === 'ready') return;
  await new Promise<void>((resolve) => redis.once('ready', resolve));
}

/** Makes sure of the database and of all that the queue will ask for. */
async function prepare(redis: Redis | Cluster, database: number): Promise<void> {
  await checkDatabase(redis, database);
  await checkRedisNeeds(redis, PROBE_KEY);
}

/** Ends a connection in order where there is one, else at once. */
async function end(redis: Redis | Cluster): Promise<void> {
  if (redis.status === 'ready')
    await withQueueTimeout(redis.quit(), ANSWER_TIMEOUT_MS).catch(() => undefined);
  redis.disconnect();
}

/** Says what an operator should know, once. A policy other than noeviction lets Redis drop accepted jobs. */
async function warnOfEviction(redis: Redis | Cluster, logger: Logger): Promise<void> {
  // Advice alone: a server that refuses INFO is served all the same.
  const memory = await redis.info('memory').catch(() => '');
  const policy = /maxmemory_policy:(\S+)/.exec(memory)?.[1];
  if (policy && policy !== 'noeviction') {
    logger.warn({ policy }, 'Redis may drop accepted jobs: set its maxmemory-policy to noeviction');
  }
}

/**
 * A queue on Redis: one server, Sentinel or Cluster. How durable an accepted job is, is the server's setting
 * (`appendonly yes`, and `appendfsync always` against loss of power). Errors: `queue-address-invalid`, `queue-unavailable`.
 */
export async function openRedisBackend(options: { url: string; logger: Logger }): Promise<QueueBackend> {
  const { logger } = options;
  const address = parseRedisAddress(options.url);
  const producer = connect(address, {
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    commandTimeout: ANSWER_TIMEOUT_MS,
  });
  const consumer = connect(address, { enableOfflineQueue: true, maxRetriesPerRequest: null });
  const clients = [producer, consumer];
  const areReady = () => clients.every(({ status }) => status === 'ready');
  const outages = createOutageLog({ logger, what: 'Redis' });
  /** What the server has last refused the login with; ioredis would try again for ever. */
  let refusal: LoradropError | undefined;
  const refused = Promise.withResolvers<never>();
  refused.promise.catch(() => undefined);
  const noteFailure = (error: Error) => {
    const code = loginRefusal(error);
    outages.failed(error, code);
    if (code === undefined) return;
    refusal = queueErrors.refused(
      `It refuses the connection with ${code}. Put the right user and password into QUEUE_URL.`,
      { cause: error },
    );
    refused.reject(refusal);
  };
  for (const client of clients) {
    client.on('error', noteFailure);
    client.on('ready', () => {
      if (!areReady()) return;
      refusal = undefined;
      outages.reached();
    });
  }
  /** BullMQ reads over connections of its own, which go and come back with these. */
  const noteBullError = (error: Error, part: string) => {
    if (!areReady()) noteFailure(error);
    else if (CONNECTION_FAILURE.test(String((error as NodeJS.ErrnoException).code ?? '')))
      logger.debug({ err: error, part }, 'queue connection error');
    else logger.warn({ err: error, part }, 'queue error');
  };
  const database = address.options.db ?? 0;
  let closed: Promise<void> | undefined;
  const close = () => {
    closed ??= Promise.all(clients.map(end)).then(() => undefined);
    return closed;
  };
  try {
    const bothConnected = Promise.all(clients.map(connected));
    await withQueueTimeout(Promise.race([bothConnected, refused.promise]), ANSWER_TIMEOUT_MS);
    await withQueueTimeout(prepare(producer, database), ANSWER_TIMEOUT_MS);
    await warnOfEviction(producer, logger);
  } catch (error) {
    await close();
    throw error;
  }
  return {
    kind: 'redis',
    answerTimeoutMs: ANSWER_TIMEOUT_MS,
    ...bullObjects({
      producers: (name, bull, more) => createRedisBackend(name, { ...bull, connection: producer }, more),
      consumers: (name, bull, more) => createRedisBackend(name, { ...bull, connection: consumer }, more),
      eventWaitMs: EVENT_WAIT_MS,
      onError: noteBullError,
    }),
    rates: createRequestRates(
      ({ burst, windowSeconds }) =>
        new RateLimiterRedis({
          storeClient: producer,
          keyPrefix: `${KEY_PREFIX}:rate`,
          points: burst,
          duration: windowSeconds,
        }),
      logger,
    ),
    index: (name) => redisJobIndex(producer, `${KEY_PREFIX}:index:${name}`),
    replaceDataUnlessEnded: redisReplaceData(producer),
    ready: async () => {
      await withQueueTimeout(checkRedisNeeds(producer, PROBE_KEY), ANSWER_TIMEOUT_MS).catch((error) => {
        throw refusal ?? error;
      });
    },
    close,
  };
}
