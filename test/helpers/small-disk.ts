import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Test } from 'tap';

const run = promisify(execFile);

/**
 * Mounts an empty file system of so many mebibytes until the end of the test. Without the right to do that the test is
 * skipped and undefined comes back.
 */
export async function mountSmallDisk(t: Test, mebibytes = 1): Promise<string | undefined> {
  const directory = await mkdtemp(join(tmpdir(), 'loradrop-disk-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  try {
    await run('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m`, 'tmpfs', directory]);
  } catch {
    t.pass('full disk', { skip: 'NOT TESTED: it needs the right to mount a small file system' });
    return undefined;
  }
  t.teardown(() => run('umount', [directory]));
  return directory;
}
