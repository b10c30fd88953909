import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { test } from 'tap';
import { digestOfKey } from '../../src/access/api-key.ts';
import { CHILD_ENVIRONMENT } from '../helpers/child-environment.ts';
import { startLoradrop, until } from '../helpers/loradrop-process.ts';
import { startPostgres } from '../helpers/postgres.ts';
import { startRedis } from '../helpers/redis.ts';
import { startHub } from '../models/hub-server.ts';

const MAIN = join(import.meta.dirname, '..', '..', 'src', 'main.ts');
/** Every secret that a process is given here, in each form in which it could come out. */
const SECRETS = {
  queue: 'Qs3cret-hunter2',
  token: 'hf_Ts3cret-swordfish',
  endpoint: 'Es3cret-tr0ubador',
  link: 'Ls3cret-paperclip-'.padEnd(40, 'z'),
  key: `ld_${'Ks3cret-correct-horse-battery'.padEnd(43, 'x')}`,
  // One that was revoked, or never made.
  wrongKey: `ld_${'Ws3cret-staple'.padEnd(43, 'y')}`,
} as const;
const FORMS = Object.values(SECRETS).flatMap((secret) => [
  secret,
  Buffer.from(secret).toString('base64').slice(0, -4),
  Buffer.from(secret).toString('hex'),
]);

/** The secrets that a text shows. */
const shown = (text: string) => FORMS.filter((form) => text.includes(form));

/** Runs a command to its end and answers all that it printed. */
async function run(args: readonly string[], environment: Record<string, string>) {
  const child = spawn(process.execPath, [MAIN, ...args], {
    env: {
      ...CHILD_ENVIRONMENT,
      PORT: '0',
      LOG_LEVEL: 'trace',
      HF_TOKEN: SECRETS.token,
      ...environment,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let printed = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (printed += chunk));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, printed };
}

test('a service shows no secret while it works, loses its queue, and is locked out of it', async (t) => {
  const redis = await startRedis(t);
  const postgres = await startPostgres(t);
  if (!redis || !postgres) return;
  const admin = new Redis({ port: redis.port }).on('error', () => undefined);
  t.teardown(() => admin.disconnect());
  const allow = (password: string) =>
    admin.call('ACL', 'SETUSER', 'loradrop', 'reset', 'on', `>${password}`, '~*', '&*', '+@all');
  await allow(SECRETS.queue);
  for (const [kind, url] of [
    ['redis', `redis://loradrop:${SECRETS.queue}@127.0.0.1:${redis.port}`],
    ['postgres', postgres.url.replace('loradrop@', `loradrop:${SECRETS.queue}@`)],
  ] as const) {
    const dataDir = t.testdir({
      'keys.json': JSON.stringify({
        version: 1,
        keys: [
          {
            name: 'k',
            tenant: 'default',
            scopes: ['admin'],
            sha256: digestOfKey(SECRETS.key),
            createdAt: '2026-11-26',
          },
        ],
      }),
    });
    const service = await startLoradrop(t, 'start', {
      DATA_DIR: dataDir,
      QUEUE_URL: url,
      HF_TOKEN: SECRETS.token,
      LINK_SECRET: SECRETS.link,
      HF_ENDPOINT: `https://mirror:${SECRETS.endpoint}@hub.example`,
      LOG_LEVEL: 'trace',
    });
    const answers: string[] = [];
    const ask = async (path: string, init: RequestInit = {}, authorization = `Bearer ${SECRETS.key}`) => {
      const response = await fetch(service.url + path, {
        ...init,
        headers: { ...init.headers, authorization },
      });
      answers.push(JSON.stringify([...response.headers]), await response.text());
      return response.status;
    };
    const post = (body: unknown) =>
      ask('/generate', {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          prefer: 'wait=60',
        },
        body: JSON.stringify(body),
      });
    t.equal(await post({ prompts: ['What is tin?'], seed: 1, presign: true }), 200, kind);
    t.match(answers.at(-1), /"links":\{"weights":"\/links\//, 'it signs links');
    t.equal(await post({ prompts: [] }), 400);
    t.equal(await ask('/jobs', {}, `Basic ${Buffer.from(`u:${SECRETS.key}`).toString('base64')}`), 200);
    t.equal(await ask('/jobs', {}, `Bearer ${SECRETS.wrongKey}`), 401);
    t.equal(await ask('/jobs', {}, SECRETS.wrongKey), 401);
    for (const path of ['/readyz', '/metrics', '/models', '/jobs', '/openapi.json', '/nothing'])
      await ask(path);
    if (kind === 'redis') {
      // The password is changed, and every connection has to log in again.
      await allow('another');
      await admin.call('CLIENT', 'KILL', 'USER', 'loradrop');
      await until(async () => (await ask('/readyz')) === 503);
      await until(async () => /WRONGPASS/.test(service.output()));
      t.equal(await ask('/jobs'), 503);
      await allow(SECRETS.queue);
      await until(async () => (await ask('/readyz')) === 200);
    }
    await (kind === 'redis' ? redis : postgres).kill();
    await until(async () => (await ask('/readyz')) === 503);
    t.equal(await ask('/jobs'), 503);
    t.equal(await post({ prompts: ['a'] }), 503);
    await service.end('SIGTERM');
    t.match(service.output(), /"level":(10|20)/, 'it logged everything');
    t.match(service.output(), /cannot be reached|refuses the connection/);
    t.strictSame(shown(service.output()), [], `${kind}: the log`);
    t.strictSame(shown(answers.join('\n')), [], `${kind}: the answers`);
  }
});

test('a command shows no secret when it fails, and none when it shows the settings', async (t) => {
  const redis = await startRedis(t);
  if (!redis) return;
  const hub = await startHub({});
  t.teardown(() => hub.close());
  hub.state.token = 'another';
  const environment = { DATA_DIR: t.testdir({}) };
  const { queue, endpoint } = SECRETS;
  for (const [name, args, more, code, says] of [
    [
      'a wrong password',
      ['serve'],
      { QUEUE_URL: `redis://u:${queue}@127.0.0.1:${redis.port}` },
      1,
      /queue-refused/,
    ],
    ['nobody there', ['worker'], { QUEUE_URL: `redis://u:${queue}@127.0.0.1:1` }, 1, /queue-unavailable/],
    [
      'no PostgreSQL there',
      ['worker'],
      { QUEUE_URL: `postgres://u:${queue}@127.0.0.1:1/db` },
      1,
      /queue-unavailable/,
    ],
    ['a host that is none', ['serve'], { QUEUE_URL: `redis://u:${queue}@[bad` }, 1, /queue-address-invalid/],
    ['a port that is none', ['serve'], { QUEUE_URL: `postgres://u:${queue}@h:port/db` }, 1, /queue-/],
    ['an unencoded login', ['serve'], { QUEUE_URL: `redis://u:%${queue}@h` }, 1, /queue-address-invalid/],
    ['an unknown scheme', ['serve'], { QUEUE_URL: `amqp://u:${queue}@h` }, 1, /queue-address-invalid/],
    ['a secret in the place of another', ['serve'], { QUEUE_URL: queue }, 1, /queue-address-invalid/],
    [
      'other settings that are wrong',
      ['serve', '--queue-url', `redis://u:${queue}@h`],
      { PORT: 'x' },
      1,
      /PORT/,
    ],
    [
      'config',
      ['config'],
      { QUEUE_URL: `redis://u:${queue}@h`, HF_ENDPOINT: `https://u:${endpoint}@h` },
      0,
      /\(secret\)/,
    ],
    ['a Hub that refuses', ['models', 'pull', 'hf://lab/generator'], { HF_ENDPOINT: hub.url }, 1, /HF_TOKEN/],
    [
      'no Hub there',
      ['models', 'pull', 'hf://a/b'],
      { HF_ENDPOINT: `http://u:${endpoint}@127.0.0.1:1` },
      1,
      /hub-/,
    ],
  ] as const) {
    const ended = await run(args, { ...environment, ...more });
    t.equal(ended.code, code, `${name}: ${ended.printed.slice(-300)}`);
    t.match(ended.printed, says, name);
    t.strictSame(shown(ended.printed), [], name);
  }
});

test('a crash shows no secret', async (t) => {
  // A defect as it would come from a library: the error has the login in its text and on it.
  const defect = `process.once('SIGUSR2', () => Promise.reject(Object.assign(
    new Error('boom at redis://u:' + process.env.QUEUE_SECRET + '@h'), { args: [process.env.QUEUE_SECRET] })))`;
  const child = spawn(
    process.execPath,
    ['--import', `data:text/javascript,${encodeURIComponent(defect)}`, MAIN, 'start'],
    {
      env: { ...CHILD_ENVIRONMENT, PORT: '0', DATA_DIR: t.testdir({}), QUEUE_SECRET: SECRETS.queue },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  t.teardown(() => child.kill('SIGKILL'));
  let printed = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (printed += chunk));
  await until(async () => printed.includes('"msg":"ready"'));
  child.kill('SIGUSR2');
  const [code] = await once(child, 'close');
  t.equal(code, 1);
  t.match(printed, /^Error: boom at redis:\/\/\(secret\)@h\n\s+at /m);
  t.strictSame(shown(printed), []);
});
