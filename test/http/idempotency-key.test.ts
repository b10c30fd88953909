import { test } from 'tap';
import { isId } from '../../src/base/ids.ts';
import { jobIdOfKey } from '../../src/http/idempotency-key.ts';

test('a key is one id, quoted or not; other keys are other ids', async (t) => {
  const id = jobIdOfKey('8e03978e-40d5-43dd');
  t.ok(isId(id));
  t.equal(jobIdOfKey('"8e03978e-40d5-43dd"'), id);
  t.not(jobIdOfKey('8e03978e-40d5-43de'), id);
  t.equal(jobIdOfKey('"a\\"b"'), jobIdOfKey('a"b'), 'escapes of the quoted form');
  t.ok(isId(jobIdOfKey('../../etc/passwd')));
});

test('keys that cannot be used are refused', async (t) => {
  for (const header of ['', '""', 'a'.repeat(256), 'tab\there', 'ümlaut', ['a', 'b']]) {
    t.throws(() => jobIdOfKey(header), { code: 'idempotency-key-invalid' }, JSON.stringify(header));
  }
  t.doesNotThrow(() => jobIdOfKey('a'.repeat(255)));
});
