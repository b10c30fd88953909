import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { test } from 'tap';
import { sha256 } from '../../src/base/digest.ts';
import { blobId, lfsPointer } from '../../src/hub-view/git-objects.ts';
import { patternBytes } from '../suites/store-samples.ts';

test('a blob is called as git calls it', async (t) => {
  const git = promisify(execFile);
  for (const bytes of [new Uint8Array(0), patternBytes(100_000), new TextEncoder().encode('{}\n')]) {
    const hashing = git('git', ['hash-object', '--stdin']);
    hashing.child.stdin!.end(bytes);
    const { stdout } = await hashing;
    const halves = [bytes.subarray(0, 10), bytes.subarray(10)];
    t.equal(await blobId(halves, bytes.length), stdout.trim());
  }
});

test('a pointer has the form of the LFS specification', (t) => {
  const pointer = new TextDecoder().decode(lfsPointer({ sha256: sha256('x'), bytes: 12345 }));
  t.equal(pointer, `version https://git-lfs.github.com/spec/v1\noid sha256:${sha256('x')}\nsize 12345\n`);
  t.end();
});
