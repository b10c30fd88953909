import { execFile } from 'node:child_process';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Webhook as StandardWebhook } from 'standardwebhooks';
import { test } from 'tap';
import { isWebhookSecret } from '../../src/webhooks/sign.ts';
import { CHILD_ENVIRONMENT } from '../helpers/child-environment.ts';
import { startLoradrop } from '../helpers/loradrop-process.ts';
import { buildUntrainedBundle } from '../helpers/untrained-bundle.ts';
import { startReceiver } from '../helpers/webhook-receiver.ts';

const main = join(import.meta.dirname, '..', '..', 'src', 'main.ts');

/** Runs `loradrop webhooks secret …` on a data directory. */
function secret(dataDirectory: string, ...args: string[]) {
  return new Promise<{ code: number; out: string; err: string }>((resolve) => {
    execFile(
      process.execPath,
      [main, 'webhooks', 'secret', ...args],
      { env: { ...CHILD_ENVIRONMENT, DATA_DIR: dataDirectory } },
      (error, out, err) => resolve({ code: error ? Number(error.code) : 0, out: out.trim(), err }),
    );
  });
}

test('secrets are made, rotated and listed, and shown once', async (t) => {
  const directory = t.testdir({});
  const file = join(directory, 'webhook-secrets.json');
  const first = await secret(directory, 'create', '--tenant', 'acme');
  t.equal(first.code, 0);
  t.ok(isWebhookSecret(first.out), 'the secret alone is on standard output');
  t.notOk(first.err.includes(first.out));
  t.equal((await stat(file)).mode & 0o777, 0o600);
  t.match(await secret(directory, 'create', '--tenant', 'acme'), { code: 1, err: /webhook-secret-exists/ });
  t.match(await secret(directory, 'create', '--tenant', 'No'), { code: 1, err: /--tenant/ });
  t.match(await secret(directory, 'rotate', '--operator'), { code: 1, err: /webhook-secret-missing/ });
  t.match(await secret(directory, 'create', '--operator'), { code: 0 });
  const second = await secret(directory, 'rotate', '--tenant', 'acme', '--overlap-hours', '2');
  t.ok(isWebhookSecret(second.out));
  t.not(second.out, first.out);
  const { secrets } = JSON.parse(await readFile(file, 'utf8')) as { secrets: { owner: string }[] };
  t.strictSame(
    secrets.map(({ owner }) => owner),
    ['*', 'acme', 'acme'],
  );
  const { out } = await secret(directory, 'list');
  t.match(out, /^acme\t/m);
  t.match(out, /^\(operator\)\t/m);
  for (const each of [first.out, second.out]) t.notOk(out.includes(each));
  await secret(directory, 'rotate', '--tenant', 'acme', '--overlap-hours', '0');
  t.notMatch(await readFile(file, 'utf8'), second.out, 'without an overlap the old one is gone');
});

test('a service posts signed webhooks to a request’s receiver and to the operator’s', async (t) => {
  const directory = t.testdir({});
  const [own, operators] = [await startReceiver(), await startReceiver()];
  t.teardown(async () => {
    await own.close();
    await operators.close();
  });
  await buildUntrainedBundle({ out: join(directory, 'bundles', 'untrained'), seed: 0 });
  const keys = {
    own: (await secret(directory, 'create')).out,
    operators: (await secret(directory, 'create', '--operator')).out,
  };
  const service = await startLoradrop(t, 'start', {
    DATA_DIR: directory,
    WEBHOOK_ALLOW: '127.0.0.1',
    WEBHOOK_ENDPOINTS: `${operators.url}?token=sesame`,
    DEVICE: 'cpu',
  });
  const response = await fetch(`${service.url}/generate`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ prompts: ['Why does ice float?'], webhook: { url: own.url } }),
  });
  t.equal(response.status, 202);
  const { id } = (await response.json()) as { id: string };
  await Promise.all([own.waitFor(1, 60_000), operators.waitFor(1, 60_000)]);
  for (const [receiver, key] of [
    [own, keys.own],
    [operators, keys.operators],
  ] as const) {
    const { body, headers } = receiver.received[0]!;
    t.match(new StandardWebhook(key).verify(body, headers as Record<string, string>), {
      type: 'job.succeeded',
      data: { id, status: 'succeeded' },
    });
  }
  const shown = await (await fetch(`${service.url}/jobs/${id}`)).text();
  t.notOk(shown.includes('sesame'), 'the operator’s receiver is not shown');
  t.match(await (await fetch(`${service.url}/metrics`)).text(), /loradrop_webhook_deliveries_total/);
  t.equal(await service.end('SIGTERM'), 0);
  for (const text of ['sesame', keys.own, keys.operators]) {
    t.notOk(service.output().includes(text), 'no secret in the log');
  }
});

test('an operator’s receiver without a secret stops the start', async (t) => {
  const directory = t.testdir({});
  await t.rejects(
    startLoradrop(t, 'start', {
      DATA_DIR: directory,
      WEBHOOK_ENDPOINTS: 'https://example.com/?token=sesame',
    }),
    { message: /webhook-secret-missing/ },
  );
});
