import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import { sha256, sha256File, sha256Json } from '../../src/base/digest.ts';

// FIPS 180-4, examples.
const ABC = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad';
const EMPTY = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';

test('strings, bytes and files of equal content have equal digests', async (t) => {
  t.equal(sha256('abc'), ABC);
  t.equal(sha256(new Uint8Array([97, 98, 99])), ABC);
  t.equal(sha256(''), EMPTY);
  const path = join(t.testdir(), 'file');
  await writeFile(path, 'abc');
  t.same(await sha256File(path), { sha256: ABC, bytes: 3 });
  const large = new Uint8Array(3 << 20).fill(7);
  await writeFile(path, large);
  const seen: number[] = [];
  t.same(await sha256File(path, { onBytes: (bytes) => seen.push(bytes) }), {
    sha256: sha256(large),
    bytes: 3 << 20,
  });
  t.ok(seen.length > 1, 'a large file is read in pieces');
  t.equal(
    seen.reduce((a, b) => a + b),
    3 << 20,
  );
});

test('a digest of a file stops with its signal', async (t) => {
  const path = join(t.testdir({ file: 'abc' }), 'file');
  await t.rejects(sha256File(path, { signal: AbortSignal.abort(new Error('enough')) }), {
    message: 'enough',
  });
  await t.rejects(sha256File(join(path, 'none')), { code: 'ENOTDIR' });
});

test('the order of keys does not change the digest of JSON, everything else does', (t) => {
  const digest = sha256Json({ a: 1, b: { c: [1, 2], d: null } });
  t.equal(sha256Json({ b: { d: null, c: [1, 2] }, a: 1 }), digest);
  t.equal(digest, sha256('{"a":1,"b":{"c":[1,2],"d":null}}'));
  for (const other of [
    { a: 1, b: { c: [2, 1], d: null } },
    { a: '1', b: { c: [1, 2], d: null } },
    { a: 1, b: { c: [1, 2] } },
    [{ a: 1 }],
    null,
  ]) {
    t.not(sha256Json(other), digest);
  }
  t.end();
});
