import { test } from 'tap';
import { collectClosers } from '../../src/base/closers.ts';

test('every part is closed, newest first, whatever the others do', async (t) => {
  const closed: string[] = [];
  const told: string[] = [];
  const closers = collectClosers((part, error) => told.push(`${part}: ${(error as Error).message}`));
  closers.add('queue', async () => void closed.push('queue'));
  closers.add('store', async () => {
    closed.push('store');
    throw new Error('disk');
  });
  closers.add('engine', async () => void closed.push('engine'));
  closers.add('server', () => {
    closed.push('server');
    // Not a rejected promise: a part may also fail before it makes one.
    throw new Error('port');
  });
  const [first, second] = await Promise.allSettled([closers.close(), closers.close()]);
  t.strictSame(closed, ['server', 'engine', 'store', 'queue']);
  t.strictSame(told, ['server: port', 'store: disk']);
  t.match(first, {
    status: 'rejected',
    reason: { message: /server: port; store: disk$/, errors: [{ message: 'port' }, { message: 'disk' }] },
  });
  t.equal((second as PromiseRejectedResult).reason, (first as PromiseRejectedResult).reason);
  t.equal(closed.length, 4, 'nothing is closed twice');
  t.throws(() => closers.add('late', async () => {}));
});

test('a later call waits for the end of the first', async (t) => {
  const gate = Promise.withResolvers<void>();
  const closers = collectClosers(() => t.fail('nothing fails here'));
  closers.add('slow', () => gate.promise);
  let ended = false;
  const first = closers.close();
  const second = closers.close().then(() => (ended = true));
  await new Promise(setImmediate);
  t.notOk(ended);
  gate.resolve();
  await Promise.all([first, second]);
  t.ok(ended);
});
