import { chmod, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import {
  changeSecretFile,
  OPERATOR,
  parseSecretFile,
  withFirstSecret,
  withRotatedSecret,
} from '../../src/webhooks/secret-file.ts';
import { openSecretRing } from '../../src/webhooks/secret-ring.ts';
import { newWebhookSecret } from '../../src/webhooks/sign.ts';
import { until } from '../helpers/loradrop-process.ts';

const entry = (changes: object = {}) => ({
  owner: 'acme',
  secret: newWebhookSecret(),
  createdAt: '2026-01-01T00:00:00Z',
  ...changes,
});
const fileOf = (...secrets: object[]) => JSON.stringify({ version: 1, secrets });

test('a file that cannot be used says where and why, and never a secret', (t) => {
  t.equal(parseSecretFile(fileOf(entry(), entry({ owner: OPERATOR }))).length, 2);
  const secret = newWebhookSecret();
  for (const text of [
    '',
    `{"version":1,"secrets":[{"secret":"${secret}"`,
    '[]',
    fileOf(entry({ owner: 'No Tenant', secret })),
    fileOf(entry({ secret: `${secret}x` })),
    fileOf(entry({ secret: 'whsec_short' })),
    fileOf(entry({ createdAt: 'yesterday', secret })),
    fileOf(entry({ more: 1, secret })),
  ]) {
    try {
      parseSecretFile(text);
      t.fail(text);
    } catch (error) {
      t.match(error, { code: 'webhook-secrets-file-invalid' });
      t.notMatch(String((error as Error).message), secret.slice(6));
      t.notMatch(String((error as Error).cause ?? ''), secret.slice(6));
    }
  }
  t.end();
});

test('secrets are made, rotated with an overlap, and read again', async (t) => {
  const path = join(t.testdir({}), 'secrets.json');
  let now = Date.now();
  const [first, second, third] = [newWebhookSecret(), newWebhookSecret(), newWebhookSecret()];
  const changes: unknown[] = [];
  const ring = await openSecretRing({
    path,
    required: false,
    pollMs: 10,
    now: () => now,
    onChange: (damage) => changes.push(damage?.code),
  });
  t.teardown(() => ring.close());
  t.strictSame(ring.of('acme'), []);
  await changeSecretFile(path, (secrets) => withFirstSecret(secrets, { owner: 'acme', secret: first, now }));
  t.equal((await stat(path)).mode & 0o777, 0o600);
  await until(async () => ring.of('acme').length === 1);
  t.strictSame(ring.of('acme'), [first]);
  t.strictSame(ring.of('other'), []);
  await t.rejects(
    changeSecretFile(path, (secrets) => withFirstSecret(secrets, { owner: 'acme', secret: second, now })),
    { code: 'webhook-secret-exists' },
  );
  const rotate = (owner: string, secret: string) =>
    changeSecretFile(path, (secrets) => withRotatedSecret(secrets, { owner, secret, overlapMs: 1000, now }));
  await t.rejects(rotate('other', second), { code: 'webhook-secret-missing' });
  await rotate('acme', second);
  await until(async () => ring.of('acme').length === 2);
  t.strictSame(ring.of('acme'), [second, first], 'the newest first');
  now += 1000;
  t.strictSame(ring.of('acme'), [second], 'the overlap is over');
  await rotate('acme', third);
  await until(async () => ring.of('acme')[0] === third);
  t.strictSame(ring.of('acme'), [third, second]);
  t.notMatch(await readFile(path, 'utf8'), first, 'a secret past its overlap is gone');

  await writeFile(path, 'not JSON at all');
  await until(async () => ring.damage !== undefined);
  t.strictSame(ring.of('acme'), [third, second], 'the last good state holds');
  await rm(path);
  await until(async () => changes.length >= 5);
  t.match(ring.damage, { code: 'webhook-secrets-file-invalid' });
  t.strictSame(ring.of('acme'), [third, second]);
});

test('a file that is asked for has to be there, and one that cannot be read is told of', async (t) => {
  const directory = t.testdir({ 'bad.json': '{}' });
  const path = join(directory, 'missing.json');
  await t.rejects(openSecretRing({ path, required: true }), { code: 'webhook-secrets-file-invalid' });
  await t.rejects(openSecretRing({ path: join(directory, 'bad.json'), required: false }), {
    code: 'webhook-secrets-file-invalid',
  });
  if (process.getuid?.() !== 0) {
    await chmod(join(directory, 'bad.json'), 0);
    await t.rejects(openSecretRing({ path: join(directory, 'bad.json'), required: false }), {
      code: 'webhook-secrets-file-invalid',
    });
  }
});
