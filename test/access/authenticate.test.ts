import { test } from 'tap';
import { newApiKey } from '../../src/access/api-key.ts';
import { createAuthenticate } from '../../src/access/authenticate.ts';
import { hasScope } from '../../src/access/caller.ts';
import type { KeyEntry } from '../../src/access/key-file.ts';

const key = newApiKey();
const entry: KeyEntry = {
  name: 'ci',
  tenant: 'team-a',
  scopes: ['read'],
  sha256: '',
  createdAt: '2026-11-26',
  expiresAt: '2026-12-01T00:00:00.000Z',
  limits: { adapters: 5 },
};
const now = () => Date.parse('2026-11-30');
const keys = { guarded: true, find: (given: string) => (given === key ? entry : undefined) };
const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`;

test('a key says who asks, in either form of the header', async (t) => {
  const authenticate = createAuthenticate({ keys, limits: { adapters: 9, waitingJobs: 3 }, now });
  for (const header of [
    `Bearer ${key}`,
    `bearer  ${key} `,
    `Bearer hf_${key}`,
    basic(`user:${key}`),
    basic(`:${key}`),
  ]) {
    t.strictSame(
      authenticate(header),
      {
        tenant: 'team-a',
        keyName: 'ci',
        scopes: ['read'],
        limits: { adapters: 5, waitingJobs: 3 },
        expiresAt: new Date('2026-12-01'),
      },
      header.slice(0, 6),
    );
  }
  t.throws(() => authenticate(undefined), { code: 'key-missing' });
  for (const header of [
    '',
    key,
    'Bearer',
    `Bearer ${key} ${key}`,
    `Bearer ${key}x`,
    `Bearer hf_hf_${key}`,
    `Bearer ${newApiKey()}`,
    `Token ${key}`,
    basic(key),
    basic(`${key}:`),
    'Basic !!!',
    `Bearer ${'x'.repeat(10_000)}`,
  ]) {
    const error = t.throws(() => authenticate(header), { code: 'key-invalid' }, header.slice(0, 20)) as Error;
    t.notMatch(error.message, key.slice(3), 'the key is not repeated');
  }
});

test('a key ends at its time, to the millisecond', async (t) => {
  const end = Date.parse(entry.expiresAt!);
  const at = (time: number) => createAuthenticate({ keys, limits: {}, now: () => time })(`Bearer ${key}`);
  t.match(at(end - 1), { keyName: 'ci' });
  t.throws(() => at(end), { code: 'key-expired' });
});

test('without keys everybody is the default tenant', async (t) => {
  const limits = { waitingJobs: 1 };
  for (const authenticate of [
    createAuthenticate({ limits }),
    createAuthenticate({ limits, keys: { guarded: false, find: () => undefined } }),
  ]) {
    const caller = authenticate('Bearer whatever');
    t.match(caller, { tenant: 'default', limits });
    t.ok(hasScope(caller, 'generate') && hasScope(caller, 'read') && hasScope(caller, 'admin'));
  }
  t.notOk(hasScope({ scopes: ['generate'] }, 'read'));
});
