import { test } from 'tap';
import { createWorkers } from '../../src/jobs/workers.ts';
import { createLogger } from '../../src/observability/logger.ts';
import { openQueueBackend } from '../../src/queue/open-queue-backend.ts';
import { storeErrors } from '../../src/store/errors.ts';
import { withEmptyCluster } from '../helpers/embedded-data.ts';
import { idleHandlers, openDefaultQueue, somePayload, someResult } from '../helpers/generate-job.ts';
import { until } from '../helpers/loradrop-process.ts';

const PATIENCE_MS = 1000;

test('jobs outlive a store that is full or away', async (t) => {
  const logger = createLogger({ level: 'silent' });
  const backend = await openQueueBackend({ dataDirectory: await withEmptyCluster(t.testdir({})), logger });
  t.teardown(() => backend.close());
  const queue = await openDefaultQueue({ backend, maxWaiting: 10, logger });
  t.teardown(() => queue.close());
  let broken: Error | undefined;
  const runs = new Map<string, number>();
  const workers = await createWorkers({
    backend,
    handlers: {
      generate: async ({ id }) => {
        runs.set(id, (runs.get(id) ?? 0) + 1);
        if (id === 'damaged') throw storeErrors.unavailable('The record is damaged.');
        if (broken) throw broken;
        return someResult(id);
      },
      ...idleHandlers,
    },
    concurrency: 2,
    logger,
    storeReady: async () => {
      if (broken) throw broken;
    },
    storePauseMs: 20,
    storePatienceMs: PATIENCE_MS,
  });
  t.teardown(() => workers.close({ drainMs: 0 }));

  for (const failure of [storeErrors.full('No room.'), storeErrors.unavailable('No answer.')]) {
    broken = failure;
    const id = failure.code;
    await queue.submit(id, somePayload());
    await until(async () => (runs.get(id) ?? 0) > 6);
    t.not((await queue.find(id))?.status, 'failed', `${id}: more runs than a job has attempts`);
    broken = undefined;
    await until(async () => (await queue.find(id))?.status === 'succeeded');
    t.pass(`${id}: it goes on by itself`);
  }

  broken = storeErrors.full('No room.');
  await queue.submit('late', somePayload({ deadlineAt: Date.now() + 1_000 }));
  await until(async () => (await queue.find('late'))?.status === 'failed');
  t.match((await queue.find('late'))?.failure, { code: 'deadline-exceeded' }, 'deadlines still hold');
  t.ok(runs.get('late')! > 4);
  broken = undefined;

  const acceptedAt = Date.now();
  await queue.submit('damaged', somePayload({ acceptedAt }));
  await until(async () => (await queue.find('damaged'))?.status === 'failed');
  const { finishedAt } = (await queue.find('damaged'))!;
  t.ok(finishedAt! - acceptedAt > PATIENCE_MS, 'one adapter in a store that works is tried for a while');
  t.ok(runs.get('damaged')! > 6, `${runs.get('damaged')} runs: more than a job has attempts`);
});
