import { test } from 'tap';
import { isLoopback } from '../../src/base/loopback.ts';
import { hostNameOf, hostRule } from '../../src/http/hosts.ts';

test('the host of an authority is read strictly', (t) => {
  for (const [authority, name] of [
    ['localhost', 'localhost'],
    ['LocalHost:8080', 'localhost'],
    ['example.org.', 'example.org'],
    ['example.org.:80', 'example.org'],
    ['example.org:', 'example.org'],
    ['lora_drop:80', 'lora_drop'],
    ['127.0.0.1:80', '127.0.0.1'],
    ['[::1]:80', '::1'],
    ['[FD00::2]', 'fd00::2'],
    ['', ''],
    [':80', ''],
    ['::1', undefined],
    ['[::1', undefined],
    ['[1.2.3.4]', undefined],
    ['a b', undefined],
    ['user@localhost', undefined],
    ['attacker.example@localhost', undefined],
    ['localhost#.attacker.example', undefined],
    ['localhost,attacker.example', undefined],
    ['localhost:80:80', undefined],
    ['localhost:123456', undefined],
    ['localhost/x', undefined],
    ['b\u00fccher.example', undefined],
  ] as const) {
    t.equal(hostNameOf(authority), name, JSON.stringify(authority));
  }
  t.end();
});

test('loopback names mean this machine alone', (t) => {
  for (const name of ['localhost', 'a.b.localhost', '127.0.0.1', '127.255.0.9', '::1', '0:0:0:0:0:0:0:1']) {
    t.ok(isLoopback(name), name);
  }
  for (const name of [
    '',
    'localhost.attacker.example',
    'notlocalhost',
    '127.0.0.1.attacker.example',
    '128.0.0.1',
    '0.0.0.0',
    '::',
    '10.0.0.1',
  ]) {
    t.notOk(isLoopback(name), name);
  }
  t.end();
});

test('an open service on loopback serves loopback names alone; any other serves all until it has a list', (t) => {
  const foreign = 'attacker.example';
  for (const host of ['127.0.0.1', '127.0.0.5', '::1', 'localhost']) {
    const rule = hostRule({ host, open: true });
    t.ok(rule.allows('localhost') && rule.allows('::1') && rule.allows('127.0.0.1'), host);
    t.notOk(rule.allows(foreign) || rule.allows(''), host);
    t.match(rule.refusal, /ALLOWED_HOSTS/);
    t.ok(hostRule({ host, open: false }).allows(foreign), 'a key protects it');
  }
  for (const host of ['0.0.0.0', '::', '10.1.2.3']) {
    t.ok(hostRule({ host, open: false }).allows(foreign) && hostRule({ host, open: true }).allows(''), host);
  }
  t.end();
});

test('a list names hosts exactly, below a suffix, or all', (t) => {
  for (const open of [true, false]) {
    const rule = hostRule({
      host: '0.0.0.0',
      allowedHosts: ['api.example.org', '*.internal', 'fd00::2'],
      open,
    });
    for (const name of ['api.example.org', 'a.internal', 'a.b.internal', 'fd00::2', 'localhost', '127.0.0.1'])
      t.ok(rule.allows(name), name);
    for (const name of [
      '',
      'example.org',
      'x.api.example.org',
      'internal',
      'ainternal',
      '10.0.0.7',
      'internal.attacker.example',
    ])
      t.notOk(rule.allows(name), name);
    t.ok(rule.allows('10.0.0.7', '10.0.0.7') && rule.allows('10.0.0.7', '::ffff:10.0.0.7'), 'as probes ask');
    t.notOk(rule.allows('10.0.0.7', '10.0.0.8') || rule.allows('', undefined) || rule.allows('', ''));
  }
  t.ok(hostRule({ host: '127.0.0.1', allowedHosts: ['*'], open: true }).allows('attacker.example'));
  t.notOk(
    hostRule({ host: '127.0.0.1', allowedHosts: ['a.example'], open: true }).allows('attacker.example'),
  );
  t.end();
});
