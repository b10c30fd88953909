import { createPostgresBackend, DEFAULT_SCHEMA, type PgPool, runMigrations } from 'bullmq';
import { Pool } from 'pg';
import { RateLimiterPostgres } from 'rate-limiter-flexible';
import type { Logger } from '../observability/logger.ts';
import { createOutageLog } from '../observability/outage-log.ts';
import type { QueueBackend } from './backend.ts';
import { type BullFactory, bullObjects } from './bull-objects.ts';
import { createJobIndexTables, sqlJobIndex } from './job-index-sql.ts';
import { sqlReplaceData } from './replace-data.ts';
import { createRequestRates } from './request-rates.ts';
import { withQueueTimeout } from './with-queue-timeout.ts';

/** A healthy server answers in milliseconds; a client of the API should hear of a dead one before it gives up itself. */
const ANSWER_TIMEOUT_MS = 2000;
/** First start runs BullMQ's migrations, which another starting process may hold the lock for. */
const MIGRATION_TIMEOUT_MS = 60_000;
/** Each of the eight kinds of worker and the event readers keep one connection to listen on; the rest carry short queries. */
const MAX_CONNECTIONS = 16;
/** In BullMQ 6.7 an event between a read and the wait is seen only at the end of the wait, so waits are short. */
const EVENT_WAIT_MS = 500;

/** Codes of a server that is away or on its way out or in: class 08 and 57P of its own, and the system's. */
const CONNECTION_CODES = /^(08|57P|ECONN|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENOTFOUND)/;
/** The same as pg words it, and BullMQ in sentences of its own. */
const CONNECTION_MESSAGES =
  /Connection terminated|not queryable|timeout exceeded|database system is (shutting down|starting up|in recovery)|E(CONN[A-Z]+|PIPE|TIMEDOUT)\b/;

function isConnectionFailure(error: Error): boolean {
  const { code = '' } = error as { code?: string };
  return CONNECTION_CODES.test(code) || CONNECTION_MESSAGES.test(error.message);
}

/**
 * A queue on PostgreSQL ≥ 13, in the schemas `bullmq` and `loradrop` of the database. LISTEN and session settings must
 * reach the server, so a pooler in transaction mode between does not work. Errors: `queue-unavailable`.
 */
export async function openPostgresBackend(options: { url: string; logger: Logger }): Promise<QueueBackend> {
  const { logger } = options;
  const pool = new Pool({
    connectionString: options.url,
    max: MAX_CONNECTIONS,
    connectionTimeoutMillis: ANSWER_TIMEOUT_MS,
    keepAlive: true,
    // BullMQ's statements name no schema.
    options: `-c search_path=${DEFAULT_SCHEMA}`,
    application_name: 'loradrop',
  });
  // BullMQ listens once for each of its objects, so their number is that of the objects and no sign of a leak.
  pool.setMaxListeners(0);
  const outages = createOutageLog({ logger, what: 'PostgreSQL' });
  pool.on('error', (error) => outages.failed(error));
  // Connections that were lost are made anew when they are wanted, which is at once.
  pool.on('connect', () => outages.reached());
  const onError = (error: Error, part: string) => {
    if (isConnectionFailure(error)) outages.failed(error);
    else logger.warn({ err: error, part }, 'queue error');
  };

  const migrate = async () => {
    const session = await pool.connect();
    try {
      await runMigrations(session, DEFAULT_SCHEMA);
      await createJobIndexTables(session);
    } finally {
      session.release();
    }
  };
  try {
    await withQueueTimeout(migrate(), MIGRATION_TIMEOUT_MS);
  } catch (error) {
    await pool.end();
    throw error;
  }
  const factory: BullFactory = (name, bull, more) =>
    // BullMQ names the part of pg it uses in types of its own, which those of pg fit but for their overloads.
    createPostgresBackend(name, { ...bull, connection: pool as PgPool }, more);
  let closed: Promise<void> | undefined;
  return {
    kind: 'postgres',
    answerTimeoutMs: ANSWER_TIMEOUT_MS,
    ...bullObjects({ producers: factory, consumers: factory, eventWaitMs: EVENT_WAIT_MS, onError }),
    rates: createRequestRates(
      ({ burst, windowSeconds }) =>
        new RateLimiterPostgres({
          storeClient: pool,
          storeType: 'pool',
          schemaName: 'loradrop',
          tableName: 'request_rates',
          tableCreated: true,
          points: burst,
          duration: windowSeconds,
        }),
      logger,
    ),
    index: (name) => sqlJobIndex(pool, name),
    replaceDataUnlessEnded: sqlReplaceData(pool),
    ready: async () => {
      await withQueueTimeout(pool.query('SELECT 1'), ANSWER_TIMEOUT_MS);
    },
    close: () => (closed ??= pool.end()),
  };
}
