import { test } from 'tap';
import type { LoradropError } from '../../src/base/errors.ts';
import { redactConfig, renderSettingsTable } from '../../src/config/docs.ts';
import { loadConfig, ownEnvironment } from '../../src/config/load.ts';
import { ConfigSchema, environmentName, flagName } from '../../src/config/schema.ts';

test('defaults hold where nothing is given', async (t) => {
  const config = loadConfig({}, {});
  t.equal(config.port, 8080);
  t.equal(config.queueUrl, undefined);
  t.equal(config.device, 'auto');
  t.ok(Object.isFrozen(config));
});

test('a flag wins over the environment, and text becomes numbers and truth values', async (t) => {
  const config = loadConfig(
    { port: '9001' },
    { PORT: '9000', MAX_QUEUED: '7', LOG_PROMPTS: 'true', STORE_URL: '' },
  );
  t.equal(config.port, 9001);
  t.equal(config.maxQueued, 7);
  t.equal(config.logPrompts, true);
  t.equal(config.storeUrl, undefined, 'an empty variable counts as unset');
});

test('every bad value is named by its variable', async (t) => {
  try {
    loadConfig({}, { PORT: 'abc', DEVICE: 'tpu', LOG_LEVEL: 'loud', MAX_COUNT: '1.5' });
    t.fail('must refuse');
  } catch (error) {
    const { code, fields } = error as LoradropError;
    t.equal(code, 'settings-invalid');
    t.strictSame([...new Set(fields.map((field) => field.pointer))].sort(), [
      'DEVICE',
      'LOG_LEVEL',
      'MAX_COUNT',
      'PORT',
    ]);
  }
  t.throws(() => loadConfig({}, { RETENTION_SECONDS: '1000', MAX_RETENTION_SECONDS: '10' }), {
    code: 'settings-invalid',
  });
});

test('secrets are never shown', async (t) => {
  const shown = redactConfig(loadConfig({}, { QUEUE_URL: 'redis://user:hunter2@localhost' }));
  t.notMatch(JSON.stringify(shown), /hunter2/);
  const { hfEndpoint } = redactConfig(loadConfig({}, { HF_ENDPOINT: 'https://user:hunter2@hub.example' }));
  t.equal(hfEndpoint, 'https://(secret)@hub.example', 'nor a login in any address');
  const secret = 'hunter2'.repeat(5);
  t.notMatch(JSON.stringify(redactConfig(loadConfig({}, { LINK_SECRET: secret }))), /hunter2/);
  try {
    loadConfig({}, { LINK_SECRET: 'hunter2' });
    t.fail('a short secret has to be refused');
  } catch (error) {
    t.match((error as Error).message, /LINK_SECRET/);
    t.notMatch((error as Error).message, /hunter2/);
  }
  process.env['HF_TOKEN'] = 'hunter2';
  process.env['AWS_SECRET_ACCESS_KEY'] = 'hunter2';
  t.teardown(() => {
    delete process.env['HF_TOKEN'];
    delete process.env['AWS_SECRET_ACCESS_KEY'];
  });
  t.ok(ownEnvironment()['PATH']);
  t.notMatch(JSON.stringify(ownEnvironment()), /hunter2/, 'nor handed on');
});

test('every setting says what it is for, once', async (t) => {
  const table = renderSettingsTable();
  for (const [name, schema] of Object.entries(ConfigSchema.properties)) {
    t.match(schema, { description: /\.$/ }, `${name} has a sentence`);
    t.equal(table.split(`\`${environmentName(name)}\` |`).length, 2);
    t.match(flagName(name), /^--[a-z0-9-]+$/);
  }
});
