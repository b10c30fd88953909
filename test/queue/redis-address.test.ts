import { test } from 'tap';
import { parseRedisAddress } from '../../src/queue/redis-address.ts';

test('reads every form of Redis address', (t) => {
  for (const [url, wanted] of [
    ['redis://localhost', { options: { host: 'localhost', port: 6379, db: 0 } }],
    ['redis://localhost/', { options: { host: 'localhost', port: 6379, db: 0 } }],
    [
      'redis://me:p%40ss%2Fw:ord@h:7000/3',
      { options: { username: 'me', password: 'p@ss/w:ord', host: 'h', port: 7000, db: 3 } },
    ],
    ['redis://:secret@h', { options: { password: 'secret', host: 'h', port: 6379, db: 0 } }],
    ['rediss://h', { options: { tls: {}, host: 'h', port: 6379, db: 0 } }],
    ['redis://[::1]:7000', { options: { host: '::1', port: 7000, db: 0 } }],
    [
      'redis+sentinel://:s@a:1,b/ours/2',
      {
        options: {
          password: 's',
          name: 'ours',
          db: 2,
          sentinels: [
            { host: 'a', port: 1 },
            { host: 'b', port: 26_379 },
          ],
        },
      },
    ],
    [
      'rediss+sentinel://a/ours',
      {
        options: {
          tls: {},
          enableTLSForSentinelMode: true,
          sentinelTLS: {},
          name: 'ours',
          db: 0,
          sentinels: [{ host: 'a', port: 26_379 }],
        },
      },
    ],
    [
      'redis+cluster://u:p@a:1,[::1]:2',
      {
        options: { username: 'u', password: 'p' },
        clusterNodes: [
          { host: 'a', port: 1 },
          { host: '::1', port: 2 },
        ],
      },
    ],
  ] as const) {
    t.strictSame(parseRedisAddress(url), wanted, url);
  }
  t.end();
});

test('refuses what it cannot read, without showing it', (t) => {
  for (const url of [
    'redis://',
    'redis://h:port',
    'redis://h:99999',
    'redis://u:hidden@h/db',
    'redis://u:hidden%@h',
    'redis://a,b:hidden',
    'redis://a:1,b:2',
    'redis://h/0?password=hidden',
    'redis+sentinel://hidden:1',
    'redis+sentinel://hidden:1/ours/0/more',
    'redis+sentinel://hidden:1/ours/x',
    'redis+cluster://hidden:1/0',
    'redis+other://hidden',
  ]) {
    t.throws(() => parseRedisAddress(url), { code: 'queue-address-invalid' }, url);
    try {
      parseRedisAddress(url);
    } catch (error) {
      t.notMatch((error as Error).message, /hidden/);
    }
  }
  t.end();
});
