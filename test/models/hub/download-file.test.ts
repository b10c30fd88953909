import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { test } from 'tap';
import { sha256 } from '../../../src/base/digest.ts';
import { downloadFile } from '../../../src/models/hub/download-file.ts';

const CONTENT = randomBytes(64 * 1024);
const FILE = {
  path: 'model.bin',
  bytes: CONTENT.length,
  digest: { algorithm: 'sha256', hex: sha256(CONTENT) },
} as const;

/** A source that gives a kibibyte at a time, and lets others have a turn in between. */
const SLOW = {
  async *read(_file: unknown, { fromByte }: { fromByte: number }) {
    for (let at = fromByte; at < CONTENT.length; at += 1024) {
      await setImmediate();
      yield CONTENT.subarray(at, at + 1024);
    }
  },
};

test('several that complete one file at once all leave it whole, wherever each of them joined', async (t) => {
  for (let round = 0; round < 20; round++) {
    const path = join(t.testdir(), FILE.path);
    if (round % 2 === 1) await writeFile(path, randomBytes(round * 1000));
    await Promise.all(
      Array.from({ length: 8 }, async (_, turn) => {
        for (let wait = 0; wait < turn * 7; wait++) await setImmediate();
        await downloadFile(SLOW, FILE, path);
        t.equal(sha256(await readFile(path)), FILE.digest.hex, 'as each of them is done');
      }),
    );
  }
});
