import { DEFAULT_TENANT } from '../base/ids.ts';
import type { IndexEntry, JobIndex } from './job-index.ts';

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
    await addTenants(session);
    // Version 3: when somebody is to be told of the job; null where nobody is.
    await session.query('ALTER TABLE loradrop.job_index ADD COLUMN IF NOT EXISTS notify_at bigint');
    await session.query(
      'CREATE INDEX IF NOT EXISTS job_index_notices ON loradrop.job_index (queue, notify_at) WHERE notify_at IS NOT NULL',
    );
    // The form that rate-limiter-flexible expects.
    await session.query(
      'CREATE TABLE IF NOT EXISTS loradrop.request_rates (key varchar(255) PRIMARY KEY, points integer NOT NULL DEFAULT 0, expire bigint)',
    );
    await session.query('COMMIT');
  } catch (error) {
    await session.query('ROLLBACK');
    throw error;
  }
}

/** Version 2 of the table: rows of version 1 belong to the default tenant, and `line` is null for a job that does not wait. */
async function addTenants(session: SqlQueries): Promise<void> {
  const { rows } = await session.query(
    `SELECT 1 FROM information_schema.columns
     WHERE table_schema = 'loradrop' AND table_name = 'job_index' AND column_name = 'tenant'`,
  );
  if (rows.length > 0) return;
  await session.query(
    `ALTER TABLE loradrop.job_index ADD COLUMN tenant text COLLATE "C" NOT NULL DEFAULT '${DEFAULT_TENANT}',
     ADD COLUMN line smallint, DROP CONSTRAINT job_index_pkey, ADD PRIMARY KEY (queue, tenant, accepted_at, id)`,
  );
  await session.query(
    `CREATE INDEX job_index_line ON loradrop.job_index (queue, tenant, line DESC, accepted_at, id)
     WHERE line IS NOT NULL`,
  );
}

const toEntry = (row: Record<string, unknown>): IndexEntry => ({
  tenant: String(row.tenant),
  id: String(row.id),
  acceptedAt: Number(row.accepted_at),
});

const KEY = 'queue = $1 AND tenant = $2 AND accepted_at = $3 AND id = $4';
const BEFORE = '(-line, accepted_at, id) < (-$5::smallint, $3::bigint, $4::text)';

/** A {@link JobIndex} in one table of a PostgreSQL database; `line` is the priority of a job that waits. */
export function sqlJobIndex(sql: SqlQueries, queue: string): JobIndex {
  const keyOf = ({ tenant, acceptedAt, id }: IndexEntry) => [queue, tenant, acceptedAt, id];
  return {
    async add(entry, { expiresAt, priority, notifyAt }) {
      await sql.query(
        `INSERT INTO loradrop.job_index (queue, tenant, accepted_at, id, line, expires_at, notify_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`,
        [...keyOf(entry), priority, expiresAt, notifyAt ?? null],
      );
      const { rows } = await sql.query(
        `SELECT count(*) AS waiting, count(*) FILTER (WHERE ${BEFORE}) AS ahead FROM loradrop.job_index
         WHERE queue = $1 AND tenant = $2 AND line IS NOT NULL`,
        [...keyOf(entry), priority],
      );
      return { ahead: Number(rows[0]?.ahead), waiting: Number(rows[0]?.waiting) };
    },
    async newest(tenant, { before, limit }) {
      const { rows } = await sql.query(
        `SELECT tenant, accepted_at, id FROM loradrop.job_index
         WHERE queue = $1 AND tenant = $2 AND (accepted_at, id) < ($3::bigint, $4::text)
         ORDER BY accepted_at DESC, id DESC LIMIT $5`,
        [queue, tenant, before?.acceptedAt ?? Number.MAX_SAFE_INTEGER, before?.id ?? '', limit],
      );
      return rows.map(toEntry);
    },
    async due(now, limit) {
      const { rows } = await sql.query(
        `SELECT tenant, accepted_at, id FROM loradrop.job_index WHERE queue = $1 AND expires_at <= $2
         ORDER BY expires_at LIMIT $3`,
        [queue, now, limit],
      );
      return rows.map(toEntry);
    },
    async postpone(entry, expiresAt) {
      await sql.query(`UPDATE loradrop.job_index SET expires_at = $5 WHERE ${KEY}`, [
        ...keyOf(entry),
        expiresAt,
      ]);
    },
    async noticesDue(now, limit) {
      const { rows } = await sql.query(
        `SELECT tenant, accepted_at, id FROM loradrop.job_index WHERE queue = $1 AND notify_at <= $2
         ORDER BY notify_at LIMIT $3`,
        [queue, now, limit],
      );
      return rows.map(toEntry);
    },
    async postponeNotice(entry, at) {
      await sql.query(`UPDATE loradrop.job_index SET notify_at = $5 WHERE ${KEY} AND notify_at IS NOT NULL`, [
        ...keyOf(entry),
        at,
      ]);
    },
    async dropNotice(entry) {
      await sql.query(`UPDATE loradrop.job_index SET notify_at = NULL WHERE ${KEY}`, keyOf(entry));
    },
    async hasNotice(entry) {
      const { rows } = await sql.query(
        `SELECT 1 FROM loradrop.job_index WHERE ${KEY} AND notify_at IS NOT NULL`,
        keyOf(entry),
      );
      return rows.length > 0;
    },
    async remove(entry) {
      await sql.query(`DELETE FROM loradrop.job_index WHERE ${KEY}`, keyOf(entry));
    },
    async enterLine(entry, priority) {
      await sql.query(`UPDATE loradrop.job_index SET line = $5 WHERE ${KEY}`, [...keyOf(entry), priority]);
    },
    async leaveLine(entry) {
      await sql.query(`UPDATE loradrop.job_index SET line = NULL WHERE ${KEY}`, keyOf(entry));
    },
    async line(tenant, limit) {
      const { rows } = await sql.query(
        `SELECT tenant, accepted_at, id FROM loradrop.job_index
         WHERE queue = $1 AND tenant = $2 AND line IS NOT NULL
         ORDER BY line DESC, accepted_at, id LIMIT $3`,
        [queue, tenant, limit],
      );
      return rows.map(toEntry);
    },
    async ahead(entry) {
      const { rows } = await sql.query(
        `SELECT (SELECT count(*) FROM loradrop.job_index AS other
           WHERE other.queue = mine.queue AND other.tenant = mine.tenant AND other.line IS NOT NULL
           AND (-other.line, other.accepted_at, other.id) < (-mine.line, mine.accepted_at, mine.id)) AS ahead
         FROM loradrop.job_index AS mine WHERE ${KEY} AND line IS NOT NULL`,
        keyOf(entry),
      );
      return rows[0] && Number(rows[0].ahead);
    },
    async waiting(tenant) {
      const { rows } = await sql.query(
        'SELECT count(*) AS waiting FROM loradrop.job_index WHERE queue = $1 AND tenant = $2 AND line IS NOT NULL',
        [queue, tenant],
      );
      return Number(rows[0]?.waiting);
    },
    async tenants() {
      const { rows } = await sql.query(
        'SELECT DISTINCT tenant FROM loradrop.job_index WHERE queue = $1 AND line IS NOT NULL',
        [queue],
      );
      return rows.map((row) => String(row.tenant));
    },
  };
}
