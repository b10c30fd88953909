import { openQueueBackend } from '../../src/queue/open-queue-backend.ts';
import { withEmptyCluster } from '../helpers/embedded-data.ts';
import { logger } from '../helpers/generate-job.ts';
import { copySuite } from '../suites/copies.ts';

copySuite('PGlite', async (t) => {
  const backend = await openQueueBackend({ dataDirectory: await withEmptyCluster(t.testdir({})), logger });
  t.teardown(() => backend.close());
  return { connect: async () => backend };
});
