import { EventEmitter } from 'node:events';
import type { PGlite } from '@electric-sql/pglite';
import type { PgPool, PgPoolClient, PgQueryResult } from 'bullmq';

type Query = PgPoolClient['query'];

/**
 * A PGlite database in the shape of the pg pool that BullMQ's PostgreSQL backend asks for. PGlite has one session, which
 * all clients share: nothing but the migrations at start may open a transaction. The pool does not own the database.
 */
export function pglitePool(database: PGlite): PgPool {
  const query: Query = async <R>(
    text: string,
    values: readonly unknown[] = [],
  ): Promise<PgQueryResult<R>> => {
    if (values.length > 0) {
      const { rows, affectedRows } = await database.query<R>(text, [...values]);
      return { rows, rowCount: affectedRows ?? null };
    }
    // Text without parameters may hold several statements (migrations), which only exec takes. The last one answers.
    const { rows, affectedRows } = (await database.exec(text)).at(-1) ?? { rows: [] };
    return { rows: rows as R[], rowCount: affectedRows ?? null };
  };

  const connect = (): PgPoolClient => {
    // One LISTEN serves the whole session, so every client hears every channel; BullMQ filters by channel and queue.
    const events = new EventEmitter();
    const stop = database.onNotification((channel, payload) => {
      events.emit('notification', { channel, payload });
    });
    return Object.assign(events, { query, release: stop }) as unknown as PgPoolClient;
  };

  // BullMQ listens once for each of its objects, so their number is no sign of a leak.
  return Object.assign(new EventEmitter().setMaxListeners(0), {
    query,
    connect: async () => connect(),
    end: async () => {},
  }) as unknown as PgPool;
}
