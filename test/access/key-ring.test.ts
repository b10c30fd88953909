import { chmod, mkdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { digestOfKey, newApiKey } from '../../src/access/api-key.ts';
import { openKeyRing } from '../../src/access/key-ring.ts';
import { until } from '../helpers/loradrop-process.ts';

const [first, second] = [newApiKey(), newApiKey()];
const fileOf = (...keys: string[]) =>
  JSON.stringify({
    version: 1,
    keys: keys.map((key, at) => ({
      name: `key-${at}`,
      tenant: 'default',
      scopes: ['read'],
      sha256: digestOfKey(key),
      createdAt: '2026-11-26',
    })),
  });

async function open(t: Test, path: string, required = false) {
  const changes: (string | number)[] = [];
  const ring = await openKeyRing({
    path,
    required,
    pollMs: 10,
    onChange: ({ size, damage }) => changes.push(damage?.message ?? size),
  });
  t.teardown(() => ring.close());
  return { ring, changes };
}

test('the file is read again whenever it changes', async (t) => {
  const path = join(t.testdir({}), 'keys.json');
  const { ring, changes } = await open(t, path);
  t.match(ring, { guarded: false, size: 0, damage: undefined });
  const put = async (text: string) => {
    await writeFile(`${path}.new`, text);
    await rename(`${path}.new`, path);
  };
  await put(fileOf(first));
  await until(async () => ring.size === 1);
  t.equal(ring.guarded, true, 'from the first key on');
  t.match(ring.find(first), { name: 'key-0' });
  t.equal(ring.find(second), undefined);

  await put('{ broken');
  await until(async () => ring.damage !== undefined);
  t.match(ring.damage, { code: 'keys-file-invalid' });
  t.ok(ring.find(first), 'the last good keys hold');
  await rm(path);
  await until(async () => /not there/.test(ring.damage?.message ?? ''));
  t.ok(ring.find(first), 'a file that is gone does not open the door');

  await put(fileOf(second));
  await until(async () => ring.damage === undefined);
  t.equal(ring.find(first), undefined, 'revoked');
  t.ok(ring.find(second));
  await put(fileOf());
  await until(async () => ring.size === 0);
  t.equal(ring.guarded, true, 'and without any key nobody comes in');
  t.strictSame(changes, [1, 'It is not JSON.', 'It is not there.', 1, 0]);
});

test('a mounted Secret is followed through its links', async (t) => {
  const directory = t.testdir({});
  const version = async (name: string, text: string) => {
    await mkdir(join(directory, name));
    await writeFile(join(directory, name, 'keys.json'), text);
    await symlink(name, join(directory, 'data.new'));
    await rename(join(directory, 'data.new'), join(directory, '..data'));
  };
  await version('v1', fileOf(first));
  await symlink('..data/keys.json', join(directory, 'keys.json'));
  const { ring } = await open(t, join(directory, 'keys.json'), true);
  t.ok(ring.find(first));
  await version('v2', fileOf(second));
  await until(async () => ring.find(second) !== undefined);
  t.equal(ring.find(first), undefined);
});

test('a file that cannot be used stops the start', async (t) => {
  const directory = t.testdir({ 'broken.json': 'x', 'keys.json': fileOf(first) });
  const refused = (name: string, required: boolean) =>
    t.rejects(openKeyRing({ path: join(directory, name), required }), { code: 'keys-file-invalid' }, name);
  await refused('broken.json', false);
  await refused('absent.json', true);
  await refused('.', true);
  if (process.getuid?.() !== 0) {
    await chmod(join(directory, 'keys.json'), 0o000);
    await refused('keys.json', false);
  }
});
