import type { Logger } from '../observability/logger.ts';
import type { QueueBackend } from './backend.ts';
import { openPgliteBackend } from './backend-pglite.ts';
import { openPostgresBackend } from './backend-postgres.ts';
import { openRedisBackend } from './backend-redis.ts';
import { queueErrors } from './errors.ts';
import { REDIS_FORMS } from './redis-address.ts';

/** Options of {@link openQueueBackend}. */
export type OpenQueueBackendOptions = {
  /** Unset: the embedded queue. */
  readonly url?: string | undefined;
  /** Where the embedded queue keeps its files. */
  readonly dataDirectory: string;
  readonly logger: Logger;
};

/**
 * Opens the queue that the address names, reachable and with its tables in place. Errors: `queue-address-invalid`,
 * `queue-unavailable`, `data-directory-locked`.
 */
export async function openQueueBackend(options: OpenQueueBackendOptions): Promise<QueueBackend> {
  const { url, dataDirectory, logger } = options;
  if (url === undefined) return openPgliteBackend({ dataDirectory, logger });
  // The address may hold a password, so no message shows more of it than its scheme.
  const scheme = /^[a-z][a-z0-9+.-]*(?=:\/\/)/.exec(url)?.[0];
  switch (scheme) {
    case 'redis':
    case 'rediss':
    case 'redis+sentinel':
    case 'rediss+sentinel':
    case 'redis+cluster':
    case 'rediss+cluster':
      return openRedisBackend({ url, logger });
    case 'postgres':
    case 'postgresql':
      return openPostgresBackend({ url, logger });
    default:
      throw queueErrors.badAddress(
        `${scheme ? `The scheme ${scheme}: is not known` : 'It has no scheme'}. Accepted: ${REDIS_FORMS}, postgres://host:5432/database.`,
      );
  }
}
