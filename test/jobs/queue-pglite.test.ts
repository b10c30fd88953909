import { openQueueBackend } from '../../src/jobs/open-queue-backend.ts';
import { logger, queueSuite } from '../suites/queue.ts';

queueSuite('PGlite', async (t) => {
  const backend = await openQueueBackend({ dataDirectory: t.testdir({}), logger });
  t.teardown(() => backend.close());
  return { connect: async () => backend };
});
