import type { JobIndex } from './job-index.ts';

/** The part of a PostgreSQL session or pool that the index needs. */
export type SqlQueries = {
  query(text: string, values?: readonly unknown[]): Promise<{ rows: Record<string, unknown>[] }>;
};

/** Taken while the tables are made, since two processes that run CREATE … IF NOT EXISTS at once can both fail. Arbitrary. */
const MIGRATION_LOCK = 0x10_72_ad;

/** Makes the tables of {@link sqlJobIndex} where they are missing. `session` must be one connection, not a pool. */
export async function createJobIndexTables(session: SqlQueries): Promise<void> {
  await session.query('BEGIN');
  try {
    await session.query('SELECT pg_advisory_xact_lock($1)', [MIGRATION_LOCK]);
    await session.query('CREATE SCHEMA IF NOT EXISTS loradrop');
    // The collation is fixed because pages go on from (accepted_at, id), which must order alike in every database.
    await session.query(`CREATE TABLE IF NOT EXISTS loradrop.job_index (
      queue text NOT NULL,
      accepted_at bigint NOT NULL,
      id text COLLATE "C" NOT NULL,
      expires_at bigint NOT NULL,
      PRIMARY KEY (queue, accepted_at, id)
    )`);
    await session.query(
      'CREATE INDEX IF NOT EXISTS job_index_expiry ON loradrop.job_index (queue, expires_at)',
    );
    await session.query('COMMIT');
  } catch (error) {
    await session.query('ROLLBACK');
    throw error;
  }
}

const toEntry = (row: Record<string, unknown>) => ({
  id: String(row.id),
  acceptedAt: Number(row.accepted_at),
});

/** A {@link JobIndex} in one table of a PostgreSQL database. */
export function sqlJobIndex(sql: SqlQueries, queue: string): JobIndex {
  return {
    async add({ acceptedAt, id }, expiresAt) {
      await sql.query('INSERT INTO loradrop.job_index VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING', [
        queue,
        acceptedAt,
        id,
        expiresAt,
      ]);
    },
    async newest({ before, limit }) {
      const { rows } = await sql.query(
        `SELECT accepted_at, id FROM loradrop.job_index WHERE queue = $1 AND (accepted_at, id) < ($2::bigint, $3::text)
         ORDER BY accepted_at DESC, id DESC LIMIT $4`,
        [queue, before?.acceptedAt ?? Number.MAX_SAFE_INTEGER, before?.id ?? '', limit],
      );
      return rows.map(toEntry);
    },
    async due(now, limit) {
      const { rows } = await sql.query(
        `SELECT accepted_at, id FROM loradrop.job_index WHERE queue = $1 AND expires_at <= $2
         ORDER BY expires_at LIMIT $3`,
        [queue, now, limit],
      );
      return rows.map(toEntry);
    },
    async postpone({ acceptedAt, id }, expiresAt) {
      await sql.query(
        'UPDATE loradrop.job_index SET expires_at = $4 WHERE queue = $1 AND accepted_at = $2 AND id = $3',
        [queue, acceptedAt, id, expiresAt],
      );
    },
    async remove({ acceptedAt, id }) {
      await sql.query('DELETE FROM loradrop.job_index WHERE queue = $1 AND accepted_at = $2 AND id = $3', [
        queue,
        acceptedAt,
        id,
      ]);
    },
  };
}
