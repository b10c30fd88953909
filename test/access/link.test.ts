import { createHmac } from 'node:crypto';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import { checkLink, type LinkTarget, signLink } from '../../src/access/link.ts';
import { openLinkSecret } from '../../src/access/link-secret.ts';

const secret = 's'.repeat(32);
const target: LinkTarget = { tenant: 'team-a', id: 'one', file: 'adapter_config.json', expiresAt: 1000 };

test('a signature is the HMAC-SHA256 of all that the link opens', async (t) => {
  const text = 'loradrop-link-1\nteam-a\none\nadapter_config.json\n1000';
  t.equal(signLink(target, secret), createHmac('sha256', secret).update(text).digest('base64url'));
  checkLink(target, signLink(target, secret), { secret, now: 999_999 });
});

test('a link opens one file of one adapter of one tenant, until its time', async (t) => {
  const signature = signLink(target, secret);
  const check = (changes: Partial<LinkTarget>, given = signature, by = secret, now = 0) =>
    checkLink({ ...target, ...changes }, given, { secret: by, now });
  for (const [what, attempt] of Object.entries({
    'another tenant': () => check({ tenant: 'team-b' }),
    'another adapter': () => check({ id: 'two' }),
    'another file': () => check({ file: 'adapter_model.safetensors' }),
    'a later end': () => check({ expiresAt: 2000 }),
    'no end': () => check({ expiresAt: Number.NaN }),
    'another secret': () => check({}, signature, 't'.repeat(32)),
    'a changed signature': () =>
      check(
        {},
        signature.replace(/.$/, (last) => (last === 'A' ? 'B' : 'A')),
      ),
    'a shorter signature': () => check({}, signature.slice(0, -1)),
    'a longer signature': () => check({}, `${signature}A`),
    'a signature of other letters': () => check({}, 'ä'.repeat(43)),
    'no signature': () => check({}, ''),
    'a changed link past its time': () => check({ id: 'two' }, signature, secret, 1_000_000),
  })) {
    t.throws(attempt, { code: 'link-invalid' }, what);
  }
  t.throws(() => check({}, signature, secret, 1_000_000), { code: 'link-expired' });
});

test('the secret is made once, for this account alone', async (t) => {
  const path = join(t.testdir({}), 'link-secret');
  const made = await openLinkSecret(path);
  t.match(made, /^[A-Za-z0-9_-]{43}$/);
  t.equal((await stat(path)).mode & 0o777, 0o600);
  t.equal(await openLinkSecret(path), made);
  t.equal((await readFile(path, 'utf8')).trim(), made);
  await writeFile(path, 'short\n');
  await t.rejects(openLinkSecret(path), { code: 'link-secret-file-invalid' });
  await writeFile(path, 'x'.repeat(10_000));
  await t.rejects(openLinkSecret(path), { code: 'link-secret-file-invalid' });
});
