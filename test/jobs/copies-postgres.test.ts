import { openQueueBackend } from '../../src/queue/open-queue-backend.ts';
import { logger } from '../helpers/generate-job.ts';
import { startPostgres } from '../helpers/postgres.ts';
import { copySuite } from '../suites/copies.ts';

copySuite('PostgreSQL', async (t) => {
  const server = await startPostgres(t);
  return (
    server && {
      async connect() {
        const backend = await openQueueBackend({ url: server.url, dataDirectory: '', logger });
        t.teardown(() => backend.close());
        return backend;
      },
    }
  );
});
