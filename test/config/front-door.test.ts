import { test } from 'tap';
import { parseAllowedHosts, parsePublicUrl, parseTrustProxy } from '../../src/config/front-door.ts';
import { loadConfig } from '../../src/config/load.ts';
import { DEFAULT_CONNECTION_LIMITS } from '../../src/http/front-door.ts';

test('ALLOWED_HOSTS is a list of names', (t) => {
  t.equal(parseAllowedHosts(undefined), undefined);
  t.strictSame(parseAllowedHosts(' API.Example.org, *.internal,[::1] , 10.0.0.1, lora_drop'), [
    'api.example.org',
    '*.internal',
    '::1',
    '10.0.0.1',
    'lora_drop',
  ]);
  t.strictSame(parseAllowedHosts('*'), ['*']);
  for (const bad of [
    'https://api.example.org',
    'api.example.org:443',
    'a/b',
    '*example.org',
    'a.*.org',
    'a,,b',
    '.example.org',
    'a b',
    '-a.example',
  ]) {
    t.throws(() => parseAllowedHosts(bad), { code: 'settings-invalid', message: /ALLOWED_HOSTS has "/ }, bad);
  }
  t.end();
});

test('PUBLIC_URL is an address, with or without a path', (t) => {
  t.equal(parsePublicUrl(undefined), undefined);
  t.equal(parsePublicUrl('https://L.example'), 'https://l.example');
  t.equal(parsePublicUrl('http://l.example:8080/api//'), 'http://l.example:8080/api');
  for (const bad of [
    'l.example',
    '/api',
    'ftp://l.example',
    'https://u:p@l.example',
    'https://l.example?a',
    'x',
  ]) {
    t.throws(() => parsePublicUrl(bad), { code: 'settings-invalid' }, bad);
    t.throws(() => loadConfig({}, { PUBLIC_URL: bad }), { code: 'settings-invalid' });
  }
  t.end();
});

test('TRUST_PROXY is addresses and networks, or a number', (t) => {
  t.equal(parseTrustProxy(undefined), undefined);
  t.strictSame(parseTrustProxy('10.0.0.0/8, fd00::/8,loopback,192.168.1.7'), [
    '10.0.0.0/8',
    'fd00::/8',
    'loopback',
    '192.168.1.7',
  ]);
  t.equal(parseTrustProxy('2'), 2);
  for (const bad of [
    '0',
    '17',
    'true',
    '*',
    'proxy.example',
    '10.0.0.0/33',
    '10.0.0.0/0',
    '10.0.0/8',
    '1,2',
    'a',
    'fd00::/129',
  ]) {
    t.throws(() => parseTrustProxy(bad), { code: 'settings-invalid', message: /TRUST_PROXY/ }, bad);
  }
  t.end();
});

test('bad values stop a start', (t) => {
  for (const [variable, value] of [
    ['ALLOWED_HOSTS', 'http://a'],
    ['TRUST_PROXY', 'everyone'],
    ['MAX_CONNECTIONS', '1'],
    ['HEADERS_TIMEOUT_MS', '130000'],
  ] as const) {
    t.throws(() => loadConfig({}, { [variable]: value }), { code: 'settings-invalid', message: variable });
  }
  t.end();
});

test('the limits that hold where nobody sets any are the defaults of the settings', (t) => {
  t.match(loadConfig({}, {}), DEFAULT_CONNECTION_LIMITS);
  t.end();
});
