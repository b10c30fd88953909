import { test } from 'tap';
import { errorForLog } from '../../src/observability/log-error.ts';

test('an error is logged with what the system says, and without what a library was given', async (t) => {
  const reply = Object.assign(new Error('WRONGPASS for redis://u:hunter2@h'), {
    code: 'ECONNREFUSED',
    port: 6379,
    command: { name: 'auth', args: ['hunter2'] },
    config: { password: 'hunter2' },
    input: 'hunter2',
  });
  const logged = errorForLog(new TypeError('outer', { cause: reply }));
  t.match(logged, {
    type: 'TypeError',
    message: 'outer',
    stack: /log-error\.test\.ts/,
    cause: { type: 'Error', message: 'WRONGPASS for redis://(secret)@h', code: 'ECONNREFUSED', port: 6379 },
  });
  t.notMatch(JSON.stringify(logged), /hunter2/);
  t.match(errorForLog(new AggregateError([reply, 'text'], 'all')), {
    errors: [{ message: /WRONGPASS/ }, { type: 'string', message: 'text' }],
  });
  const circular: Error & { cause?: unknown } = new Error('circular');
  circular.cause = circular;
  t.ok(JSON.stringify(errorForLog(circular)), 'it ends');
});
