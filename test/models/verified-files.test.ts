import { appendFile, copyFile, readFile, rename, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { test } from 'tap';
import { sha256 } from '../../src/base/digest.ts';
import { openBundle } from '../../src/models/open.ts';
import { openVerifiedFiles } from '../../src/models/verified-files.ts';
import { importSmallBundle } from './small-bundle.ts';

const DAY_MS = 24 * 3_600_000;
/** A clock by which what was just written is old enough. */
const later = (ms = 60_000) => ({ now: () => Date.now() + ms });

test('a file is known while nothing has changed it, and by another start', async (t) => {
  const directory = t.testdir({ weights: 'weights' });
  const [file, list] = [join(directory, 'weights'), join(directory, 'own', 'verified-files.json')];
  const digest = sha256('weights');
  const first = await openVerifiedFiles(list, later());
  t.notOk(await first.isKnown(file, digest));
  let verified = 0;
  await first.remember(file, digest, async () => void verified++);
  t.equal(verified, 1);
  await first.save();
  t.equal((await stat(list)).mode & 0o777, 0o600, 'the list is the service’s own');

  const known = async (ms?: number) => (await openVerifiedFiles(list, later(ms))).isKnown(file, digest);
  t.ok(await known());
  t.notOk(await (await openVerifiedFiles(list)).isKnown(file, sha256('other')), 'as another digest');
  t.notOk(await known(8 * DAY_MS), 'a week later it is read again');

  const { atime, mtime } = await stat(file);
  await delay(20);
  await writeFile(file, 'weighty');
  await utimes(file, atime, mtime);
  t.notOk(await known(), 'a change of the same size, with the time of the last write put back');
});

test('what takes the place of a file is not known, whatever its times', async (t) => {
  const directory = t.testdir({ weights: 'weights', other: 'weighty' });
  const [file, other, list] = ['weights', 'other', 'list.json'].map((name) => join(directory, name)) as [
    string,
    string,
    string,
  ];
  const digest = sha256('weights');
  const files = await openVerifiedFiles(list, later());
  await files.remember(file, digest, async () => {});
  t.ok(await files.isKnown(file, digest));
  const { atime, mtime } = await stat(file);
  await utimes(other, atime, mtime);
  await rename(other, file);
  t.notOk(await files.isKnown(file, digest));
  await copyFile(file, other);
  t.notOk(await files.isKnown(other, digest));
});

test('a file that is new or changes while it is verified is not remembered, nor one that fails', async (t) => {
  const directory = t.testdir({ weights: 'weights' });
  const [file, list] = [join(directory, 'weights'), join(directory, 'list.json')];
  const digest = sha256('weights');
  const soon = await openVerifiedFiles(list);
  await soon.remember(file, digest, async () => {});
  t.notOk(await soon.isKnown(file, digest), 'another change might get the same time');

  const files = await openVerifiedFiles(list, later());
  await files.remember(file, digest, async () => {
    await delay(20);
    await appendFile(file, '!');
  });
  t.notOk(await files.isKnown(file, digest));
  const refused = files.remember(file, digest, async () => Promise.reject(new Error('another digest')));
  await t.rejects(refused, { message: 'another digest' });
  t.notOk(await files.isKnown(file, digest));
  await files.save();
  await t.rejects(readFile(list), 'and there is no list of nothing');
});

test('a damaged list is an empty one', async (t) => {
  const directory = t.testdir({ weights: 'weights', broken: '[{"device": 1}]', cut: '[{"dev' });
  for (const list of ['broken', 'cut', 'absent']) {
    const files = await openVerifiedFiles(join(directory, list), later());
    t.notOk(await files.isKnown(join(directory, 'weights'), sha256('weights')));
  }
});

test('a bundle opens by the list, and a changed byte is still found', async (t) => {
  const root = t.testdir();
  const { bundle } = await importSmallBundle(root);
  const verified = await openVerifiedFiles(join(root, 'list.json'), later());
  let hashed = 0;
  const open = () => openBundle(bundle.directory, { verified, onBytes: (bytes) => (hashed += bytes) });
  t.same(await open(), bundle);
  const all = hashed;
  t.same(await open(), bundle);
  t.equal(hashed, 2 * all, 'what need not be hashed counts as done');
  const weights = join(bundle.directory, 'decoder.onnx.data');
  const bytes = await readFile(weights);
  bytes[100]! ^= 1;
  await delay(20);
  await writeFile(weights, bytes);
  await t.rejects(open(), {
    code: 'bundle-invalid',
    message: /^decoder\.onnx\.data does not have the digest/,
  });
});
