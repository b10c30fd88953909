import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import { digestOfKey } from '../../src/access/api-key.ts';
import { runCli } from '../../src/cli/program.ts';

/** What a command wrote, and how it ended. */
async function run(...argv: string[]) {
  const [lines, notes]: string[][] = [[], []];
  const output = {
    line: (text = '') => void lines!.push(text),
    note: (text: string) => void notes!.push(text),
    progress: () => ({ update() {}, stop() {} }),
  };
  const status = await runCli(['node', 'loradrop', 'keys', ...argv], output);
  return { status, lines: lines!, notes: notes!.join('\n') };
}

test('keys are made, listed and revoked in a file', async (t) => {
  const file = join(t.testdir({}), 'keys.json');
  const on = ['--api-keys-file', file];
  const made = await run('create', '--name', 'ci', '--tenant', 'team-a', '--scopes', 'generate,read', ...on);
  t.equal(made.status, 0);
  t.equal(made.lines.length, 1, 'standard output has the key alone');
  const [key] = made.lines;
  t.match(key, /^ld_[A-Za-z0-9_-]{43}$/);
  t.notMatch(made.notes, key!);
  const text = await readFile(file, 'utf8');
  t.notMatch(text, key!, 'the key itself is not kept');
  t.match(JSON.parse(text), {
    version: 1,
    keys: [{ name: 'ci', tenant: 'team-a', scopes: ['generate', 'read'], sha256: digestOfKey(key!) }],
  });
  t.equal((await stat(file)).mode & 0o777, 0o600);

  const more = await run(
    'create',
    '--name',
    'b',
    '--expires',
    '90d',
    '--rate',
    '5',
    '--adapters',
    '7',
    ...on,
  );
  t.equal(more.status, 0);
  const entry = JSON.parse(await readFile(file, 'utf8')).keys[1];
  t.match(entry, {
    tenant: 'default',
    scopes: ['generate', 'read'],
    limits: { requestsPerSecond: 5, adapters: 7 },
  });
  const days = (Date.parse(entry.expiresAt) - Date.parse(entry.createdAt)) / 86_400_000;
  t.equal(days, 90);

  const listed = await run('list', ...on);
  t.match(
    listed.lines.map((line) => line.split('\t').slice(0, 3)),
    [
      ['ci', 'team-a', 'generate,read'],
      ['b', 'default', 'generate,read'],
    ],
  );
  const json = await run('list', '--json', ...on);
  t.match(JSON.parse(json.lines.join('\n')), [{ name: 'ci' }, { name: 'b' }]);
  t.notMatch(json.lines.join('\n'), /sha256/);

  t.equal((await run('create', '--name', 'ci', ...on)).status, 1, 'a name stands for one key');
  t.equal((await run('revoke', 'ci', ...on)).status, 0);
  t.equal((await run('revoke', 'ci', ...on)).status, 1);
  t.match(JSON.parse(await readFile(file, 'utf8')).keys, [{ name: 'b' }]);
});

test('what makes no key is refused before the file is touched', async (t) => {
  const file = join(t.testdir({}), 'keys.json');
  for (const argv of [
    ['--name', 'a b'],
    ['--name', ''],
    ['--name', 'a', '--tenant', 'Team A'],
    ['--name', 'a', '--tenant', '../x'],
    ['--name', 'a', '--scopes', 'write'],
    ['--name', 'a', '--scopes', ''],
    ['--name', 'a', '--expires', 'soon'],
    ['--name', 'a', '--expires', '2020-01-01'],
    ['--name', 'a', '--rate', '-1'],
    [],
  ]) {
    const { status, lines } = await run('create', ...argv, '--api-keys-file', file);
    t.not(status, 0, argv.join(' '));
    t.strictSame(lines, []);
  }
  await t.rejects(stat(file), { code: 'ENOENT' });
});
