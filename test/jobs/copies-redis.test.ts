import { openQueueBackend } from '../../src/queue/open-queue-backend.ts';
import { logger } from '../helpers/generate-job.ts';
import { startRedis } from '../helpers/redis.ts';
import { copySuite } from '../suites/copies.ts';

copySuite('Redis', async (t) => {
  const server = await startRedis(t);
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
