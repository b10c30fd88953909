import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import { digestOfKey } from '../../src/access/api-key.ts';
import { changeKeyFile, type KeyEntry, parseKeyFile, readKeyFile } from '../../src/access/key-file.ts';

const entry = (name: string, changes: Partial<KeyEntry> = {}): KeyEntry => ({
  name,
  tenant: 'default',
  scopes: ['read'],
  sha256: digestOfKey(name),
  createdAt: '2026-11-26T12:00:00.000Z',
  ...changes,
});
const fileOf = (...keys: unknown[]) => JSON.stringify({ version: 1, keys });

test('what is no file of keys is refused, with where and why', async (t) => {
  const good = entry('a', { expiresAt: '2027-01-01', limits: { requestsPerSecond: 0.5, adapters: 0 } });
  t.strictSame(parseKeyFile(fileOf(good)), [good]);
  t.strictSame(parseKeyFile(fileOf()), []);
  const cases: [string, string][] = [
    ['not JSON', '{'],
    ['empty', ''],
    ['another version', JSON.stringify({ version: 2, keys: [] })],
    ['an unknown field', fileOf({ ...entry('a'), admin: true })],
    ['an unknown scope', fileOf({ ...entry('a'), scopes: ['write'] })],
    ['no scope', fileOf({ ...entry('a'), scopes: [] })],
    ['a tenant that leaves its directory', fileOf(entry('a', { tenant: '../b' }))],
    ['a name with a line break', fileOf(entry('a\nb'))],
    ['a digest that is none', fileOf(entry('a', { sha256: 'abc' }))],
    ['a time that is none', fileOf(entry('a', { expiresAt: 'soon' }))],
    ['a negative limit', fileOf(entry('a', { limits: { adapters: -1 } }))],
    ['a name twice', fileOf(entry('a'), entry('a', { sha256: digestOfKey('b') }))],
    ['a digest twice', fileOf(entry('a'), entry('b', { sha256: digestOfKey('a') }))],
  ];
  for (const [what, text] of cases) {
    const error = t.throws(() => parseKeyFile(text), { code: 'keys-file-invalid' }, what) as Error;
    t.notMatch(error.message, digestOfKey('a'), 'no digest is told');
  }
});

test('a change is whole or not there, and nobody else can read the file', async (t) => {
  const directory = t.testdir({});
  const path = join(directory, 'deep', 'keys.json');
  t.equal(await readKeyFile(path), undefined);
  await changeKeyFile(path, (keys) => [...keys, entry('a')]);
  await changeKeyFile(path, (keys) => [...keys, entry('b')]);
  t.strictSame(
    parseKeyFile(await readFile(path, 'utf8')).map(({ name }) => name),
    ['a', 'b'],
  );
  t.equal((await stat(path)).mode & 0o777, 0o600);
  const before = await readFile(path, 'utf8');
  await t.rejects(
    changeKeyFile(path, () => {
      throw new Error('changed my mind');
    }),
    { message: 'changed my mind' },
  );
  t.equal(await readFile(path, 'utf8'), before);
  await writeFile(path, 'damaged');
  await t.rejects(
    changeKeyFile(path, (keys) => keys),
    { code: 'keys-file-invalid' },
  );
  t.equal(await readFile(path, 'utf8'), 'damaged', 'a damaged file is not written over');
  t.strictSame(await readdir(join(directory, 'deep')), ['keys.json'], 'no draft is left');
});
