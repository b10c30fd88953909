import { test } from 'tap';
import { isId, newId } from '../../src/base/ids.ts';

test('an id is safe as a file name, an URL segment and a queue key', (t) => {
  for (const id of ['a', 'job_0f3a', '_x', '1a', 'A-b_c', 'x'.repeat(64), '__proto__']) t.ok(isId(id), id);
  for (const id of [
    '',
    '1',
    '0123456789',
    '-a',
    '.a',
    'a.b',
    'a/b',
    '..',
    'a:b',
    'a b',
    'a\n',
    '\na',
    'ä',
    'a%2e',
    'a\0',
    'x'.repeat(65),
  ]) {
    t.notOk(isId(id), JSON.stringify(id));
  }
  t.end();
});

test('new ids have the form of one, a prefix and their randomness', (t) => {
  const ids = new Set(Array.from({ length: 1000 }, () => newId('job')));
  t.equal(ids.size, 1000);
  for (const id of ids) if (!isId(id) || !/^job_[0-9a-f]{20}$/.test(id)) t.fail(id);
  t.equal(
    newId('adapter', (bytes) => new Uint8Array(bytes).fill(0xab)),
    `adapter_${'ab'.repeat(10)}`,
  );
  t.end();
});
