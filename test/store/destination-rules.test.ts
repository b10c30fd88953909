import { test } from 'tap';
import {
  copyLocation,
  findRule,
  MAX_PREFIX_CHARS,
  parseDestinationRules,
  readPlace,
} from '../../src/store/destination-rules.ts';

test('entries of the setting', async (t) => {
  t.strictSame(parseDestinationRules(''), []);
  t.strictSame(
    parseDestinationRules(
      's3://one team-a=s3://two/a/b/  *=s3://three/x?endpoint=http://minio:9000&region=eu-1&profile=p.1&pathStyle=true',
    ),
    [
      { tenant: 'default', bucket: 'one', prefix: '', server: {} },
      { tenant: 'team-a', bucket: 'two', prefix: 'a/b', server: {} },
      {
        tenant: '*',
        bucket: 'three',
        prefix: 'x',
        server: { endpoint: 'http://minio:9000', region: 'eu-1', profile: 'p.1', forcePathStyle: true },
      },
    ],
  );
  for (const bad of [
    'bucket',
    'https://bucket',
    's3://',
    's3://UPPER',
    's3://10.0.0.1',
    's3://bucket/../a',
    's3://bucket//a',
    'Team=s3://bucket',
    'a=b=s3://bucket',
    '**=s3://bucket',
    's3://bucket?endpoint=ftp://x',
    's3://bucket?endpoint=http://user:hunter2@x',
    's3://bucket?region=Über',
    's3://bucket?profile=a/b',
    's3://bucket?pathStyle=yes',
    's3://bucket?secret=x',
    's3://bucket/a s3://bucket/a/',
  ]) {
    t.throws(() => parseDestinationRules(bad), { code: 'destination-settings-invalid' }, bad);
  }
  t.throws(() => parseDestinationRules('s3://first s3://bucket?endpoint=http://user:hunter2@x'), {
    message: /^Entry 2 of DESTINATIONS(?!.*hunter2)/,
  });
});

test('places of requests', async (t) => {
  t.strictSame(readPlace({ bucket: 'bucket' }), { bucket: 'bucket', prefix: '' });
  t.strictSame(readPlace({ bucket: 'b-1.x', prefix: 'a/b_.c/' }), { bucket: 'b-1.x', prefix: 'a/b_.c' });
  t.equal(copyLocation({ bucket: 'b', prefix: '' }, 'id'), 's3://b/id');
  t.equal(copyLocation({ bucket: 'b', prefix: 'a/c' }, 'id'), 's3://b/a/c/id');
  for (const bucket of [
    '',
    'ab',
    'A-bucket',
    'a..b',
    '-ab',
    'ab-',
    '1.2.3.4',
    'a/b',
    'a b',
    'x'.repeat(64),
    'a\u0000b',
  ]) {
    t.throws(
      () => readPlace({ bucket }),
      { code: 'destination-invalid', fields: [{ pointer: '/destination/bucket' }] },
      JSON.stringify(bucket),
    );
  }
  for (const prefix of [
    '/',
    '/a',
    'a//b',
    '..',
    'a/../b',
    'a/.',
    'a\u0000',
    'a\nb',
    'ä',
    'a b',
    '%2e%2e',
    'a\\b',
    `${'a/'.repeat(MAX_PREFIX_CHARS / 2)}b`,
    'x'.repeat(101),
  ]) {
    t.throws(
      () => readPlace({ bucket: 'bucket', prefix }),
      { code: 'destination-invalid', fields: [{ pointer: '/destination/prefix' }] },
      JSON.stringify(prefix.slice(0, 20)),
    );
  }
});

test('who may have copies sent where', async (t) => {
  const rules = parseDestinationRules(
    's3://own/loras acme=s3://acme *=s3://shared/all other=s3://shared/all/acme acme=s3://shared/all/acme/x?region=r-1',
  );
  const regionOf = (tenant: string, bucket: string, prefix: string) => {
    const rule = findRule(rules, tenant, { bucket, prefix });
    return rule && (rule.server.region ?? rule.tenant);
  };
  t.equal(regionOf('default', 'own', 'loras'), 'default');
  t.equal(regionOf('default', 'own', 'loras/x/y'), 'default');
  t.equal(regionOf('default', 'own', 'lorasx'), undefined, 'a part is a whole part');
  t.equal(regionOf('default', 'own', ''), undefined, 'not above it');
  t.equal(regionOf('acme', 'own', 'loras'), undefined, 'an entry without a tenant is the default tenant’s');
  t.equal(regionOf('acme', 'acme', ''), 'acme');
  t.equal(regionOf('acme', 'acme', 'anything'), 'acme');
  t.equal(regionOf('default', 'acme', ''), undefined);
  t.equal(regionOf('acme', 'shared', 'all/acme'), '*');
  t.equal(regionOf('acme', 'shared', 'all'), undefined, 'what is every tenant’s has the tenant’s name in it');
  t.equal(regionOf('default', 'shared', 'all/acme'), undefined, 'and no other’s');
  t.equal(regionOf('other', 'shared', 'all/acme/x'), 'other', 'unless the operator says so');
  t.equal(regionOf('acme', 'shared', 'all/acme/x/y'), 'r-1', 'the longest prefix holds');
  t.equal(regionOf('acme', 'unknown', ''), undefined);
});
