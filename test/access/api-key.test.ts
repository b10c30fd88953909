import { test } from 'tap';
import { digestOfKey, isApiKey, newApiKey } from '../../src/access/api-key.ts';

test('a key is random, has a form that scanners find, and is known by its digest', async (t) => {
  const keys = Array.from({ length: 100 }, () => newApiKey());
  t.equal(new Set(keys).size, 100);
  for (const key of keys) t.ok(/^ld_[A-Za-z0-9_-]{43}$/.test(key) && isApiKey(key));
  const fixed = newApiKey((bytes) => new Uint8Array(bytes).fill(255));
  t.equal(fixed, `ld_${'_'.repeat(42)}8`);
  // sha256sum says the same.
  t.equal(digestOfKey('ld_abc'), 'e2ce8a6463eacde55d33236f32a4f3cc7f1d8c44cc6f60d5011ea5537cd86ba4');
  for (const text of ['', 'ld_', `${fixed}x`, fixed.slice(0, -1), `LD${fixed.slice(2)}`, `${fixed}\n`]) {
    t.notOk(isApiKey(text), JSON.stringify(text));
  }
});
