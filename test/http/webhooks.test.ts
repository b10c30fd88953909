import { Webhook as StandardWebhook } from 'standardwebhooks';
import { type Test, test } from 'tap';
import { newApiKey } from '../../src/access/api-key.ts';
import { createAuthenticate } from '../../src/access/authenticate.ts';
import type { GenerateRequest } from '../../src/http/schemas.ts';
import { WEBHOOK_EVENTS } from '../../src/webhooks/events.ts';
import { until } from '../helpers/loradrop-process.ts';
import { type Behaviour, SECRET, startReceiver } from '../helpers/webhook-receiver.ts';
import { startApi, type TestApi } from './start-api.ts';

const prompts = ['Which gas do plants take in?', 'Why does ice float?'];

async function receiverOf(t: Test, behaviour?: Behaviour) {
  const receiver = await startReceiver(behaviour);
  t.teardown(() => receiver.close());
  return receiver;
}

const generate = ({ app }: TestApi, body: object, headers: Record<string, string> = {}) =>
  app.inject({ method: 'POST', url: '/generate', payload: { prompts, ...body }, headers });

test('a job’s end is posted to its webhook, as GET shows it', async (t) => {
  const receiver = await receiverOf(t);
  const api = await startApi(t);
  const url = receiver.url.replace('//', '//user:hunter2@').concat('?token=sesame');
  const accepted = await generate(api, { webhook: { url, events: ['job.queued', 'job.succeeded'] } });
  t.equal(accepted.statusCode, 202);
  const { id, webhook, urls } = accepted.json();
  t.strictSame(webhook, {
    url: url.replace('hunter2', '***'),
    events: ['job.queued', 'job.succeeded'],
  });
  await receiver.waitFor(2);
  const list = async () => (await api.app.inject(urls.deliveries)).json().deliveries;
  await until(async () => (await list())[1]?.state === 'delivered');
  const [queued, succeeded] = receiver.received;
  t.match(JSON.parse(queued!.body), { type: 'job.queued', data: { id, status: 'queued', stage: 'queued' } });
  const job = (await api.app.inject(urls.self)).json();
  const message = new StandardWebhook(SECRET).verify(
    succeeded!.body,
    succeeded!.headers as Record<string, string>,
  );
  t.strictSame(message, { type: 'job.succeeded', timestamp: job.finishedAt, data: job });
  t.match(await list(), [
    { n: 0, event: 'job.queued', state: 'delivered', attempts: 1, status: 204 },
    { n: 1, event: 'job.succeeded', id: succeeded!.headers['webhook-id'], state: 'delivered' },
  ]);

  const replayed = await api.app.inject({ method: 'POST', url: `/jobs/${id}/deliveries/1/replay` });
  t.equal(replayed.statusCode, 202);
  t.match(replayed.json(), { n: 1, state: 'pending' });
  await receiver.waitFor(3);
  t.equal(receiver.received[2]!.body, succeeded!.body);
  t.equal(receiver.received[2]!.headers['webhook-id'], succeeded!.headers['webhook-id']);
  for (const secret of ['hunter2', 'sesame', SECRET, SECRET.slice(6)]) {
    t.notOk(api.logged().includes(secret), 'no secret in the log');
  }
});

test('a canceled job is told of at once', async (t) => {
  const receiver = await receiverOf(t);
  const api = await startApi(t, { work: false });
  const { id } = (await generate(api, { webhook: { url: receiver.url } })).json();
  await api.app.inject({ method: 'DELETE', url: `/jobs/${id}` });
  const list = async () => (await api.app.inject(`/jobs/${id}/deliveries`)).json().deliveries;
  await until(async () => (await list()).length === 1);
  t.match(await list(), [{ n: 0, event: 'job.canceled', state: 'pending', attempts: 0 }]);
  const early = await api.app.inject({ method: 'POST', url: `/jobs/${id}/deliveries/0/replay` });
  t.match(early.json(), { status: 409, code: 'delivery-pending' });
});

test('what cannot be called is refused before anything is accepted', async (t) => {
  const api = await startApi(t, { work: false });
  const bad: [unknown, string, number?][] = [
    ['https://127.0.0.2/', 'webhook-address-refused'],
    ['https://169.254.169.254/latest', 'webhook-address-refused'],
    ['https://2130706433/', 'webhook-address-refused'],
    ['https://intranet/', 'webhook-address-refused'],
    ['ftp://example.com/', 'webhook-url-invalid'],
    ['not an address', 'webhook-url-invalid'],
    [`https://example.com/${'a'.repeat(3000)}`, 'webhook-url-invalid'],
    ['', 'webhook-url-invalid'],
    ['https://name.invalid/', 'webhook-unresolvable'],
    [7, 'request-invalid'],
  ];
  for (const [url, code] of bad) {
    const { statusCode, body } = await generate(api, { webhook: { url } });
    t.equal(statusCode, 400, String(url));
    t.match(JSON.parse(body), { code, errors: [{ pointer: '/webhook/url' }] }, String(url));
  }
  const url = 'http://127.0.0.1:1/';
  const lists = [
    [],
    ['job.exploded'],
    ['job.queued', 'job.queued'],
    [7],
    [...WEBHOOK_EVENTS, 'job.queued'],
    Array.from({ length: 10_000 }, () => 'job.queued'),
  ];
  for (const events of lists) {
    const { statusCode, body } = await generate(api, { webhook: { url, events } });
    t.equal(statusCode, 400);
    t.match(JSON.parse(body), { code: 'webhook-events-invalid', errors: [{ pointer: '/webhook/events' }] });
  }
  for (const webhook of [{}, [], 'https://example.com', { url, secret: 'whsec_x' }, { url, events: {} }]) {
    t.match((await generate(api, { webhook: webhook as GenerateRequest['webhook'] })).json(), {
      status: 400,
      code: /^(request-invalid|field-unknown)$/,
    });
  }
  t.equal((await api.queue.counts()).waiting, 0, 'nothing was accepted');
  t.equal((await generate(api, { webhook: { url, events: [...WEBHOOK_EVENTS] } })).statusCode, 202);
});

test('a tenant without a secret hears of that, and nobody sees another tenant’s deliveries', async (t) => {
  const receiver = await receiverOf(t);
  const keys = { acme: newApiKey(), other: newApiKey() };
  const entryOf = (key: string) => {
    const found = Object.entries(keys).find(([, each]) => each === key);
    return (
      found && {
        name: found[0],
        tenant: found[0],
        scopes: ['generate' as const, 'read' as const],
        sha256: '',
        createdAt: '',
      }
    );
  };
  const api = await startApi(t, {
    services: {
      authenticate: createAuthenticate({ keys: { guarded: true, find: entryOf }, limits: {} }),
    },
    secrets: { of: (owner) => (owner === 'acme' ? [SECRET] : []) },
  });
  const as = (tenant: keyof typeof keys) => ({ authorization: `Bearer ${keys[tenant]}` });
  const refused = await generate(api, { webhook: { url: receiver.url } }, as('other'));
  t.match(refused.json(), { status: 400, code: 'webhook-secret-missing', errors: [{ pointer: '/webhook' }] });
  const { id } = (await generate(api, { webhook: { url: receiver.url } }, as('acme'))).json();
  await receiver.waitFor(1);
  const get = (tenant: keyof typeof keys) =>
    api.app.inject({ url: `/jobs/${id}/deliveries`, headers: as(tenant) });
  t.match((await get('acme')).json(), { deliveries: [{ event: 'job.succeeded' }] });
  t.match((await get('other')).json(), { status: 404, code: 'job-not-found' });
  const replay = await api.app.inject({
    method: 'POST',
    url: `/jobs/${id}/deliveries/0/replay`,
    headers: as('other'),
  });
  t.match(replay.json(), { status: 404, code: 'job-not-found' });
  t.match((await api.app.inject(`/jobs/${id}/deliveries`)).json(), { status: 401 });
});

test('deliveries that are not there', async (t) => {
  const api = await startApi(t);
  const { id } = (await generate(api, {})).json();
  t.strictSame((await api.app.inject(`/jobs/${id}/deliveries`)).json(), { deliveries: [] });
  const post = (path: string) => api.app.inject({ method: 'POST', url: path });
  t.match((await post(`/jobs/${id}/deliveries/0/replay`)).json(), {
    status: 404,
    code: 'delivery-not-found',
  });
  t.match((await post(`/jobs/${id}/deliveries/-1/replay`)).json(), { status: 400 });
  t.match((await post(`/jobs/${id}/deliveries/1e3/replay`)).json(), { status: 400 });
  t.match((await post(`/jobs/none/deliveries/0/replay`)).json(), { status: 404, code: 'job-not-found' });
});
