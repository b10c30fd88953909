import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { PGlite } from '@electric-sql/pglite';
import { createPostgresBackend, DEFAULT_SCHEMA, runMigrations } from 'bullmq';
import { RateLimiterMemory } from 'rate-limiter-flexible';
import type { Logger } from '../observability/logger.ts';
import type { QueueBackend } from './backend.ts';
import { type BullFactory, bullObjects } from './bull-objects.ts';
import { lockDirectory } from './directory-lock.ts';
import { queueErrors } from './errors.ts';
import { createJobIndexTables, type SqlQueries, sqlJobIndex } from './job-index-sql.ts';
import { pglitePool } from './pglite-pool.ts';
import { sqlReplaceData } from './replace-data.ts';
import { createRequestRates } from './request-rates.ts';
import { withQueueTimeout } from './with-queue-timeout.ts';

/** In one process nothing can be unreachable; a call only waits for those before it and for other work of the process. */
const ANSWER_TIMEOUT_MS = 30_000;
/** As on PostgreSQL: an event between a read and the wait is seen only at the end of the wait. */
const EVENT_WAIT_MS = 500;

/** Opens or makes the database. Errors: `queue-data-unreadable`, whose cause is PGlite's own message. */
async function openDatabase(directory: string): Promise<PGlite> {
  try {
    return await PGlite.create(directory);
  } catch (cause) {
    throw queueErrors.damaged(
      'The directory queue/postgres in DATA_DIR was made by another version, or is damaged. Restore it from a copy; or move it away, which gives up the jobs in it: finished adapters are elsewhere and stay.',
      { cause },
    );
  }
}

/**
 * The embedded queue: PostgreSQL inside this process, its files in `<dataDirectory>/queue`, no server and no port.
 * An accepted job is written to the operating system before it is acknowledged, so it outlives the process however that
 * ends; PGlite does not flush to the disk, so a loss of power may lose the last seconds. Errors: `data-directory-locked`.
 */
export async function openPgliteBackend(options: {
  dataDirectory: string;
  logger: Logger;
}): Promise<QueueBackend> {
  const { logger } = options;
  const directory = join(options.dataDirectory, 'queue');
  await mkdir(directory, { recursive: true });
  const lock = lockDirectory(directory);
  let database: PGlite | undefined;
  const closeAll = async () => {
    try {
      await database?.close();
    } finally {
      lock.close();
    }
  };
  try {
    database = await openDatabase(join(directory, 'postgres'));
    const pool = pglitePool(database);
    await runMigrations(await pool.connect(), DEFAULT_SCHEMA);
    await createJobIndexTables(pool as SqlQueries);
    // BullMQ's statements name no schema.
    await database.exec(`SET search_path TO ${DEFAULT_SCHEMA}`);
    const onError = (error: Error, part: string) => logger.warn({ err: error, part }, 'queue error');
    const factory: BullFactory = (name, bull, more) =>
      createPostgresBackend(name, { ...bull, connection: pool }, more);
    let closed: Promise<void> | undefined;
    return {
      kind: 'embedded',
      answerTimeoutMs: ANSWER_TIMEOUT_MS,
      ...bullObjects({ producers: factory, consumers: factory, eventWaitMs: EVENT_WAIT_MS, onError }),
      // One process has the directory, so its memory is where all requests are counted.
      rates: createRequestRates(
        ({ burst, windowSeconds }) => new RateLimiterMemory({ points: burst, duration: windowSeconds }),
        logger,
      ),
      index: (name) => sqlJobIndex(pool, name),
      replaceDataUnlessEnded: sqlReplaceData(pool),
      ready: async () => {
        await withQueueTimeout(pool.query('SELECT 1'), ANSWER_TIMEOUT_MS);
      },
      close: () => (closed ??= closeAll()),
    };
  } catch (error) {
    await closeAll();
    throw error;
  }
}
