import type { LookupAddress } from 'node:dns';
import { test } from 'tap';
import { createAddressGuard } from '../../src/webhooks/address-guard.ts';
import { isPublicAddress, parseAllowList } from '../../src/webhooks/networks.ts';
import type { ResolveName } from '../../src/webhooks/resolve.ts';

const PUBLIC_V4 = '93.184.216.34';
const PUBLIC_V6 = '2606:2800:220:1:248:1893:25c8:1946';

/** Names of a made-up internet. */
const NAMES: Readonly<Record<string, readonly string[]>> = {
  'good.example': [PUBLIC_V4, PUBLIC_V6],
  'private.example': ['10.1.2.3'],
  'mixed.example': [PUBLIC_V4, '192.168.1.1'],
  'mixed6.example': [PUBLIC_V4, 'fd00::1'],
  'loop.example': ['127.0.0.1'],
  'metadata.example': ['169.254.169.254'],
  'zone.example': ['fe80::1%eth0'],
  'localhost.localdomain': ['127.0.0.1'],
  'empty.example': [],
  'hooks.internal.example': ['10.9.9.9'],
};

const resolve: ResolveName = async (name) => {
  const found = NAMES[name.toLowerCase()];
  if (!found) throw Object.assign(new Error('ENOTFOUND'), { code: 'ENOTFOUND' });
  return found;
};

const makeGuard = (allow = 'none', resolvePublic: ResolveName = resolve) =>
  createAddressGuard({
    allow: parseAllowList(allow),
    ports: [443, 8443],
    resolvePublic,
    resolveAllowed: resolvePublic,
  });

/** Addresses that a guard without an allow list must not let through, with the code of the refusal. */
const HOSTILE: readonly (readonly [string, string])[] = [
  // Loopback, in all its spellings
  ['https://127.0.0.1/', 'refused'],
  ['https://127.8.8.8/', 'refused'],
  ['https://127.1/', 'refused'],
  ['https://0177.0.0.1/', 'refused'],
  ['https://0x7f.0.0.1/', 'refused'],
  ['https://0x7f000001/', 'refused'],
  ['https://2130706433/', 'refused'],
  ['https://017700000001/', 'refused'],
  ['https://１２７.０.０.１/', 'refused'],
  ['https://127。0。0。1/', 'refused'],
  ['https://127.0.0.1./', 'refused'],
  ['https://%31%32%37.0.0.1/', 'refused'],
  ['https://localhost/', 'refused'],
  ['https://LOCALHOST/', 'refused'],
  ['https://localhost./', 'refused'],
  ['https://localhost.localdomain/', 'refused'],
  ['https://0.0.0.0/', 'refused'],
  ['https://0/', 'refused'],
  ['https://[::1]/', 'refused'],
  ['https://[::]/', 'refused'],
  ['https://[0:0:0:0:0:0:0:1]/', 'refused'],
  // IPv4 inside IPv6
  ['https://[::ffff:127.0.0.1]/', 'refused'],
  ['https://[::ffff:7f00:1]/', 'refused'],
  ['https://[::ffff:93.184.216.34]/', 'refused'],
  ['https://[::127.0.0.1]/', 'refused'],
  ['https://[64:ff9b::7f00:1]/', 'refused'],
  ['https://[64:ff9b:1::a00:1]/', 'refused'],
  ['https://[2002:7f00:1::]/', 'refused'],
  ['https://[2001:0:53aa:64c:0:fbff:f5fe:fdfd]/', 'refused'],
  // Private and special networks
  ['https://10.0.0.1/', 'refused'],
  ['https://172.16.0.1/', 'refused'],
  ['https://172.31.255.255/', 'refused'],
  ['https://192.168.0.1/', 'refused'],
  ['https://100.64.0.1/', 'refused'],
  ['https://192.0.2.1/', 'refused'],
  ['https://198.18.0.1/', 'refused'],
  ['https://224.0.0.1/', 'refused'],
  ['https://239.255.255.250/', 'refused'],
  ['https://255.255.255.255/', 'refused'],
  ['https://240.0.0.1/', 'refused'],
  ['https://[fe80::1]/', 'refused'],
  ['https://[fec0::1]/', 'refused'],
  ['https://[fc00::1]/', 'refused'],
  ['https://[ff02::1]/', 'refused'],
  ['https://[2001:db8::1]/', 'refused'],
  ['https://[100::1]/', 'refused'],
  // Metadata services
  ['https://169.254.169.254/latest/meta-data/', 'refused'],
  ['https://[fd00:ec2::254]/', 'refused'],
  ['https://100.100.100.200/', 'refused'],
  ['https://192.0.0.192/', 'refused'],
  ['https://168.63.129.16/', 'refused'],
  ['https://metadata.example/', 'refused'],
  // A public address in an odd spelling
  ['https://0x5db8d822/', 'refused'],
  ['https://93.12113954/', 'refused'],
  // Names
  ['https://private.example/', 'refused'],
  ['https://PRIVATE.example/', 'refused'],
  ['https://mixed.example/', 'refused'],
  ['https://mixed6.example/', 'refused'],
  ['https://loop.example/', 'refused'],
  ['https://zone.example/', 'refused'],
  ['https://intranet/', 'refused'],
  ['https://good.example@127.0.0.1/', 'refused'],
  ['https://127.0.0.1#@good.example/', 'refused'],
  ['https://127.0.0.1?@good.example/', 'refused'],
  ['https://nowhere.example/', 'unresolvable'],
  ['https://empty.example/', 'unresolvable'],
  // Ports and schemes
  ['http://good.example/', 'refused'],
  ['https://good.example:22/', 'refused'],
  ['https://good.example:80/', 'refused'],
  ['https://good.example:6379/', 'refused'],
  ['ftp://good.example/', 'invalid'],
  ['file:///etc/passwd', 'invalid'],
  ['gopher://127.0.0.1:6379/_FLUSHALL', 'invalid'],
  ['javascript:alert(1)', 'invalid'],
  ['//good.example/', 'invalid'],
  ['https:good.example', 'invalid'],
  ['https:/good.example', 'invalid'],
  // Text that parsers read differently
  ['', 'invalid'],
  ['https://', 'invalid'],
  [' https://good.example/', 'invalid'],
  ['https://good.example/\n', 'invalid'],
  ['https://127.0.\t0.1/', 'invalid'],
  ['https://good.example\\@127.0.0.1/', 'invalid'],
  ['https:\\\\127.0.0.1/', 'invalid'],
  ['https://good.example\u0000.evil/', 'invalid'],
  ['https://[::1%25eth0]/', 'invalid'],
  ['https://[::1/', 'invalid'],
  ['https://good.example:99999/', 'invalid'],
  [`https://good.example/${'a'.repeat(2048)}`, 'invalid'],
];

const CODES: Readonly<Record<string, string>> = {
  refused: 'webhook-address-refused',
  invalid: 'webhook-url-invalid',
  unresolvable: 'webhook-unresolvable',
};

test('no hostile address comes through', async (t) => {
  t.ok(HOSTILE.length >= 40);
  const guard = makeGuard();
  for (const [url, refusal] of HOSTILE) {
    await t.rejects(guard.check(url), { code: CODES[refusal] }, JSON.stringify(url));
  }
});

test('public receivers come through', async (t) => {
  const guard = makeGuard();
  for (const url of [
    'https://good.example/hook?token=1',
    'https://GOOD.example:8443/',
    'https://user:password@good.example/',
    'https://good.example./',
    `https://${PUBLIC_V4}/`,
    `https://[${PUBLIC_V6}]/`,
    'HTTPS://good.example/',
  ]) {
    await t.resolves(guard.check(url), url);
  }
});

test('an operator may allow names, addresses and networks', async (t) => {
  const guard = makeGuard('hooks.internal.example, 127.0.0.1 192.168.0.0/16,fd00::/8');
  for (const url of [
    'http://hooks.internal.example:3000/',
    'http://127.0.0.1:8080/',
    'http://192.168.7.7/',
    'http://[fd00::5]:1/',
    'https://mixed.example/',
  ]) {
    await t.resolves(guard.check(url), url);
  }
  for (const url of [
    'http://127.0.0.2/',
    'http://mixed.example/',
    'https://private.example/',
    'http://[::ffff:127.0.0.1]/',
    'http://2130706433/',
    'https://loop.example.hooks.internal.example/',
  ]) {
    await t.rejects(guard.check(url), { code: /^webhook-/ }, url);
  }
  for (const bad of ['10.0.0.0/33', '10.0.0.0/8/8', '*.internal', 'http://a', '::1/200', 'a b,,-c']) {
    t.throws(() => parseAllowList(bad), { code: 'webhook-settings-invalid' }, bad);
  }
});

test('an address is judged at every look-up of a connection', async (t) => {
  // A name server that tells the truth once: what is checked and what is connected to are two look-ups.
  let asked = 0;
  const rebinding: ResolveName = async () => (asked++ === 0 ? [PUBLIC_V4] : ['127.0.0.1']);
  const guard = makeGuard('none', rebinding);
  const url = 'https://rebinding.example/';
  await guard.check(url);
  const lookup = guard.lookup(new URL(url));
  const look = (all: boolean) =>
    new Promise<string | LookupAddress[]>((resolve, reject) =>
      lookup('rebinding.example', { all }, (error, address) => (error ? reject(error) : resolve(address))),
    );
  for (const all of [true, false]) {
    await t.rejects(look(all), { code: 'webhook-address-refused' });
  }
  t.equal(asked, 3);
  asked = 0;
  t.equal(await look(false), PUBLIC_V4);
  asked = 0;
  t.strictSame(await look(true), [{ address: PUBLIC_V4, family: 4 }]);
});

test('only plainly spelled public addresses are public', (t) => {
  for (const address of [
    '8.8.8.8',
    '1.1.1.1',
    '172.32.0.1',
    '100.128.0.1',
    '2001:4860:4860::8888',
    '2a00::1',
  ])
    t.ok(isPublicAddress(address), address);
  for (const address of ['', 'example.com', '8.8.8', '2a00::1%1', '4000::1', '3fff::1', '198.51.100.7'])
    t.notOk(isPublicAddress(address), address);
  t.end();
});
