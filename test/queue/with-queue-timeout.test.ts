import { test } from 'tap';
import { queueErrors } from '../../src/queue/errors.ts';
import { withQueueTimeout } from '../../src/queue/with-queue-timeout.ts';

test('passes an answer on, and our own failures', async (t) => {
  t.equal(await withQueueTimeout(Promise.resolve(1), 1000), 1);
  await t.rejects(withQueueTimeout(Promise.reject(queueErrors.full('x')), 1000), { code: 'queue-full' });
});

test('turns silence and foreign failures into one of ours, without their text', async (t) => {
  const secret = new Error('connect ECONNREFUSED 10.0.0.1');
  await t.rejects(withQueueTimeout(new Promise(() => {}), 20), { code: 'queue-unavailable' });
  const failure = await withQueueTimeout(Promise.reject(secret), 1000).catch((error: Error) => error);
  t.match(failure, { code: 'queue-unavailable', cause: secret });
  t.notMatch(String(failure), /10\.0/);
});
