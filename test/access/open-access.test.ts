import { join } from 'node:path';
import { test } from 'tap';
import { changeKeyFile } from '../../src/access/key-file.ts';
import { openAccess } from '../../src/access/open-access.ts';
import { isLoopback } from '../../src/base/loopback.ts';

test('without a key the service is for its own machine alone, unless that is said on purpose', async (t) => {
  const keysFile = join(t.testdir({}), 'keys.json');
  const options = { mode: 'auto', keysFile, fileNamed: false, loopback: false, limits: {} } as const;
  const error = (await t.rejects(openAccess(options), { code: 'access-undecided' })) as Error;
  for (const way of ['loradrop keys create', 'HOST=127.0.0.1', 'AUTH=off']) t.match(error.message, way);
  const open = await openAccess({ ...options, loopback: true });
  t.equal(open.authenticate(undefined).tenant, 'default');
  await open.close();

  await changeKeyFile(keysFile, () => [
    {
      name: 'a',
      tenant: 'team-a',
      scopes: ['read'],
      sha256: 'a'.repeat(64),
      createdAt: '2026-11-26',
    },
  ]);
  const guarded = await openAccess(options);
  t.throws(() => guarded.authenticate(undefined), { code: 'key-missing' });
  await guarded.close();
  const off = await openAccess({ ...options, mode: 'off' });
  t.equal(off.authenticate(undefined).tenant, 'default', 'off is off, whatever keys there are');
  await t.rejects(openAccess({ ...options, keysFile: `${keysFile}.not`, fileNamed: true, loopback: true }), {
    code: 'keys-file-invalid',
  });
});

test('addresses that only this machine reaches', async (t) => {
  for (const host of ['127.0.0.1', '127.9.9.9', '::1', '[::1]', 'localhost', 'LOCALHOST', 'a.localhost']) {
    t.ok(isLoopback(host), host);
  }
  for (const host of ['0.0.0.0', '::', '10.0.0.1', '128.0.0.1', 'localhost.example', 'example', '']) {
    t.notOk(isLoopback(host), host);
  }
});
