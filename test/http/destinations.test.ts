import { ListObjectsV2Command } from '@aws-sdk/client-s3';
import { type Test, test } from 'tap';
import { newApiKey } from '../../src/access/api-key.ts';
import { createAuthenticate } from '../../src/access/authenticate.ts';
import { until } from '../helpers/loradrop-process.ts';
import {
  objectStorageClient,
  objectStorageEnvironment,
  startVersitygw,
  TEST_BUCKET,
} from '../helpers/object-storage.ts';
import { startReceiver } from '../helpers/webhook-receiver.ts';
import { makeS3Place } from '../store/s3-place.ts';
import { startApi, type TestApi } from './start-api.ts';

const prompts = ['Which gas do plants take in?', 'Why does ice float?'];
const generate = ({ app }: TestApi, body: object, headers: Record<string, string> = {}) =>
  app.inject({ method: 'POST', url: '/generate', payload: { prompts, ...body }, headers });
const allowed = `s3://${TEST_BUCKET}/copies`;
const destination = { type: 's3', bucket: TEST_BUCKET, prefix: 'copies/a' };

async function startStorage(t: Test) {
  const server = await startVersitygw(t);
  if (!server) return undefined;
  Object.assign(process.env, objectStorageEnvironment(server.port));
  const client = objectStorageClient(server.port);
  t.teardown(() => client.destroy());
  return {
    server,
    keys: async (prefix: string) => {
      const { Contents = [] } = await client.send(
        new ListObjectsV2Command({ Bucket: TEST_BUCKET, Prefix: prefix }),
      );
      return Contents.map(({ Key }) => Key).sort();
    },
  };
}

test('a request’s destination gets the adapter, the job says so, and the webhook too', async (t) => {
  const storage = await startStorage(t);
  if (!storage) return;
  const receiver = await startReceiver();
  t.teardown(() => receiver.close());
  const api = await startApi(t, { destinations: allowed });
  const accepted = await generate(api, {
    destination: { ...destination, prefix: 'copies/a/' },
    webhook: { url: receiver.url, events: ['job.succeeded', 'job.delivered'] },
    count: 2,
  });
  t.equal(accepted.statusCode, 202);
  const { id, urls, destination: promised } = accepted.json();
  const location = `s3://${TEST_BUCKET}/copies/a/${id}--0`;
  t.strictSame(promised, { ...destination, state: 'pending', location, attempts: 0 });
  await receiver.waitFor(2);
  const job = (await api.app.inject(urls.self)).json();
  t.match(job, {
    status: 'succeeded',
    destination: {
      ...destination,
      state: 'delivered',
      location,
      attempts: 1,
      deliveredAt: String,
      lastAttemptAt: String,
      error: undefined,
    },
    location: undefined,
  });
  t.strictSame(
    await storage.keys('copies/'),
    [0, 1].flatMap((at) =>
      ['adapter_config.json', 'adapter_model.safetensors'].map((name) => `copies/a/${id}--${at}/${name}`),
    ),
  );
  t.strictSame(receiver.events(id), ['job.succeeded', 'job.delivered']);
  const [succeeded, delivered] = receiver.received.map(({ body }) => JSON.parse(body));
  t.strictSame(succeeded.data.destination, promised, 'as the job was when it had succeeded');
  t.strictSame(delivered, { type: 'job.delivered', timestamp: job.destination.deliveredAt, data: job });
  t.match((await api.app.inject('/jobs')).json(), { jobs: [{ id, destination: { state: 'delivered' } }] });
  const events = (await api.app.inject(`/jobs/${id}/events`)).body;
  t.match(events, /event: succeeded\ndata: .*"state":"delivered"/);
});

test('a job tells where its adapters lie in shared storage', async (t) => {
  const storage = await startStorage(t);
  if (!storage) return;
  const place = makeS3Place(storage.server.port);
  const api = await startApi(t, { store: (await place.open()).all });
  const { id } = (await generate(api, { count: 2 }, { prefer: 'wait=30' })).json();
  const job = (await api.app.inject(`/jobs/${id}`)).json();
  const locations = [0, 1].map((at) => `${place.options.url}/adapters/default/${id}--${at}`);
  t.equal(job.location, locations[0]);
  t.strictSame(
    job.adapters.map(({ location }: { location: string }) => location),
    locations,
  );
  t.equal((await api.app.inject(`/adapters/${id}--1`)).json().location, locations[1]);
  const waiting = (await generate(api, { name: 'held' })).json();
  t.equal(waiting.location, undefined, 'not before it is there');
});

test('a destination that is none or not allowed is refused before anything is accepted', async (t) => {
  const api = await startApi(t, { work: false, destinations: `${allowed} *=s3://shared` });
  const bad: [unknown, number, string, string][] = [
    [{ ...destination, type: 'gs' }, 400, 'destination-invalid', '/destination/type'],
    [{ ...destination, bucket: 'No_Bucket' }, 400, 'destination-invalid', '/destination/bucket'],
    [{ ...destination, bucket: '169.254.169.254' }, 400, 'destination-invalid', '/destination/bucket'],
    [{ ...destination, bucket: '' }, 400, 'destination-invalid', '/destination/bucket'],
    [{ ...destination, bucket: 'b'.repeat(100_000) }, 400, 'destination-invalid', '/destination/bucket'],
    [{ ...destination, prefix: 'copies/../x' }, 400, 'destination-invalid', '/destination/prefix'],
    [{ ...destination, prefix: 'copies/\u0007' }, 400, 'destination-invalid', '/destination/prefix'],
    [{ ...destination, prefix: '/copies' }, 400, 'destination-invalid', '/destination/prefix'],
    [
      { ...destination, prefix: `copies/${'a/'.repeat(400)}` },
      400,
      'destination-invalid',
      '/destination/prefix',
    ],
    [{ ...destination, bucket: 'another' }, 403, 'destination-not-allowed', '/destination'],
    [{ ...destination, prefix: 'other' }, 403, 'destination-not-allowed', '/destination'],
    [{ ...destination, prefix: 'copies-too' }, 403, 'destination-not-allowed', '/destination'],
    [{ type: 's3', bucket: TEST_BUCKET }, 403, 'destination-not-allowed', '/destination'],
    [{ type: 's3', bucket: 'shared' }, 403, 'destination-not-allowed', '/destination'],
    [{ type: 's3', bucket: 'shared', prefix: 'other' }, 403, 'destination-not-allowed', '/destination'],
    [
      { ...destination, accessKeyId: 'AKIA', secretAccessKey: 'x' },
      400,
      'field-unknown',
      '/destination/accessKeyId',
    ],
    [{ ...destination, endpoint: 'http://169.254.169.254' }, 400, 'field-unknown', '/destination/endpoint'],
    [{ ...destination, type: 7 }, 400, 'request-invalid', '/destination/type'],
    [{ type: 's3' }, 400, 'request-invalid', '/destination'],
    ['s3://bucket', 400, 'request-invalid', '/destination'],
    [null, 400, 'request-invalid', '/destination'],
  ];
  for (const [value, status, code, pointer] of bad) {
    const { statusCode, body } = await generate(api, { destination: value });
    const label = JSON.stringify(value).slice(0, 90);
    t.equal(statusCode, status, label);
    const problem = JSON.parse(body);
    t.equal(problem.code, code, label);
    t.ok(problem.errors[0].pointer.startsWith(pointer), `${label}: ${problem.errors[0].pointer}`);
    t.ok(body.length < 2000);
  }
  t.equal((await api.queue.counts()).waiting, 0, 'nothing was accepted');
  const query = await api.app.inject({
    method: 'POST',
    url: '/generate?destination=s3://x',
    payload: 'A question?',
    headers: { 'content-type': 'text/plain' },
  });
  t.match(query.json(), { status: 400, code: 'field-unknown' });
  t.equal(
    (await generate(api, { destination: { type: 's3', bucket: 'shared', prefix: 'default/x' } })).statusCode,
    202,
  );
});

test('every tenant has destinations of its own', async (t) => {
  const keys = { acme: newApiKey(), other: newApiKey() };
  const find = (key: string) => {
    const name = Object.entries(keys).find(([, each]) => each === key)?.[0];
    if (name === undefined) return undefined;
    return { name, tenant: name, scopes: ['generate' as const, 'read' as const], sha256: '', createdAt: '' };
  };
  const api = await startApi(t, {
    work: false,
    destinations: `acme=s3://for-acme *=s3://shared/x s3://for-default`,
    services: { authenticate: createAuthenticate({ keys: { guarded: true, find }, limits: {} }) },
  });
  const ask = async (tenant: keyof typeof keys, bucket: string, prefix = '') =>
    (
      await generate(
        api,
        { destination: { type: 's3', bucket, prefix } },
        { authorization: `Bearer ${keys[tenant]}` },
      )
    ).statusCode;
  t.equal(await ask('acme', 'for-acme'), 202);
  t.equal(await ask('other', 'for-acme'), 403);
  t.equal(await ask('acme', 'for-default'), 403);
  t.equal(await ask('acme', 'shared', 'x/acme/y'), 202);
  t.equal(await ask('other', 'shared', 'x/other'), 202);
  t.equal(await ask('other', 'shared', 'x/acme'), 403);
});

test('a job that is canceled has nothing to copy, and a repeat of a request is one job', async (t) => {
  const api = await startApi(t, { work: false, destinations: allowed });
  const put = (body: object) =>
    api.app.inject({ method: 'PUT', url: '/generate/mine', payload: { prompts, seed: 1, ...body } });
  t.equal((await put({ destination })).statusCode, 202);
  t.equal((await put({ destination })).statusCode, 202);
  t.match((await put({ destination: { ...destination, prefix: 'copies/b' } })).json(), {
    code: 'job-conflict',
  });
  t.match((await put({})).json(), { code: 'job-conflict' });
  const canceled = (await api.app.inject({ method: 'DELETE', url: '/jobs/mine' })).json();
  t.match(canceled, { status: 'canceled', destination: { state: 'failed', attempts: 0 } });
  await until(async () => {
    const { payload } = (await api.queue.find('mine'))!;
    const due = await api.queue.notices.due(payload.acceptedAt + 86_400_000, 10);
    return due.length === 0;
  });
});
