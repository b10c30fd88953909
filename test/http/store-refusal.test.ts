import { test } from 'tap';
import { storeErrors } from '../../src/store/errors.ts';
import { startApi } from './start-api.ts';

test('new jobs are refused while adapters cannot be stored', async (t) => {
  let broken: Error | undefined;
  const storeReady = async () => {
    if (broken) throw broken;
  };
  const { app, queue } = await startApi(t, { work: false, services: { storeReady } });
  const submit = () =>
    app.inject({ method: 'POST', url: '/generate', payload: { prompts: ['What is tin?'], seed: 1 } });
  for (const [failure, status] of [
    [storeErrors.full('No room.'), 507],
    [storeErrors.unavailable('No answer.'), 503],
  ] as const) {
    broken = failure;
    const refused = await submit();
    t.equal(refused.statusCode, status);
    t.match(refused.json(), { code: failure.code });
    t.match(refused.headers['retry-after'], /^[0-9]+$/);
  }
  t.same((await queue.list({ limit: 10 })).jobs, [], 'nothing was accepted');
  broken = undefined;
  t.equal((await submit()).statusCode, 202);
});
