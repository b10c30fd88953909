/** Copies to destinations on real servers. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  CreateMultipartUploadCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { type Test, test } from 'tap';
import { sha256 } from '../../src/base/digest.ts';
import { openDestinations } from '../../src/store/destinations.ts';
import { openLocalStore } from '../../src/store/local.ts';
import type { AdapterStore, StoredAdapter } from '../../src/store/store.ts';
import {
  objectStorageClient,
  objectStorageEnvironment,
  startMoto,
  startVersitygw,
  TEST_BUCKET,
} from '../helpers/object-storage.ts';
import { patternBytes, sampleRecord } from '../suites/store-samples.ts';
import { startFaultProxy } from './fault-proxy.ts';
import { makeS3Place } from './s3-place.ts';

const PART_BYTES = 5 << 20;
const WEIGHTS = patternBytes(PART_BYTES * 2 + 4_321);
const CONFIG = new TextEncoder().encode('{"r":8}');
const weights = 'adapter_model.safetensors';
const config = 'adapter_config.json';
const TENANT = 'acme';
const place = { bucket: TEST_BUCKET, prefix: 'copies/acme' };
const FILES = [weights, config];

async function publish(store: AdapterStore, id: string, content = WEIGHTS): Promise<StoredAdapter> {
  const draft = await store.of(TENANT).draft(id);
  await draft.write(config, [CONFIG]);
  await draft.write(weights, [content.subarray(0, 1000), content.subarray(1000)]);
  return await draft.publish(sampleRecord({ contentKey: sha256(content) }));
}

/** A destination on a server behind a proxy that tells which requests came. */
async function setUp(t: Test, start: typeof startVersitygw = startVersitygw, query = '') {
  const server = await start(t);
  if (!server) return undefined;
  const proxy = await startFaultProxy(t, server.port);
  Object.assign(process.env, objectStorageEnvironment(proxy.port));
  const requests: string[] = [];
  proxy.headers = (headers) => headers;
  proxy.fault = ({ method, url, headers }) => {
    requests.push(`${method} ${url}${headers['x-amz-copy-source'] ? ' copies' : ''}`);
    return false;
  };
  const local = await openLocalStore({ directory: t.testdir({}) });
  t.teardown(() => local.close());
  const destinations = openDestinations({
    allowed: `*=s3://${TEST_BUCKET}/copies${query}`,
    forcePathStyle: true,
    partBytes: PART_BYTES,
    partsInFlight: 2,
  });
  t.teardown(() => destinations.close());
  const client = objectStorageClient(server.port);
  t.teardown(() => client.destroy());
  const bucket = { Bucket: TEST_BUCKET, Prefix: 'copies/' };
  return {
    server,
    proxy,
    requests,
    local,
    client,
    destinations,
    copy: (store: AdapterStore, adapter: StoredAdapter, signal = new AbortController().signal) =>
      destinations.copy({ tenant: TENANT, place }, adapter, {
        source: store.of(TENANT),
        files: FILES,
        signal,
      }),
    keys: async () =>
      ((await client.send(new ListObjectsV2Command(bucket))).Contents ?? []).map(({ Key }) => Key!).sort(),
    uploads: async () => (await client.send(new ListMultipartUploadsCommand(bucket))).Uploads?.length ?? 0,
    bytes: async (key: string) => {
      const { Body } = await client.send(new GetObjectCommand({ Bucket: TEST_BUCKET, Key: key }));
      return Buffer.from(await Body!.transformToByteArray());
    },
    put: (key: string, body: string) =>
      client.send(new PutObjectCommand({ Bucket: TEST_BUCKET, Key: key, Body: body })),
  };
}

for (const [name, start] of [
  ['versitygw', startVersitygw],
  ['moto', startMoto],
] as const) {
  test(`${name}: from a local store the files are streamed, the configuration last, once`, async (t) => {
    const setup = await setUp(t, start);
    if (!setup) return;
    const { local, copy, keys, bytes, uploads, requests, client } = setup;
    const adapter = await publish(local, 'one');
    await copy(local, adapter);
    t.strictSame(await keys(), [`copies/acme/one/${config}`, `copies/acme/one/${weights}`]);
    t.ok((await bytes(`copies/acme/one/${weights}`)).equals(WEIGHTS));
    t.ok((await bytes(`copies/acme/one/${config}`)).equals(CONFIG));
    t.equal(await uploads(), 0);
    const completed = requests.findIndex((each) => /^POST .*uploadId=/.test(each));
    const last = requests.findIndex((each) => each.startsWith('PUT ') && each.includes(config));
    t.ok(completed !== -1 && last > completed, 'the configuration shows after the weights');
    const head = await client.send(
      new HeadObjectCommand({ Bucket: TEST_BUCKET, Key: `copies/acme/one/${weights}` }),
    );
    t.strictSame(head.Metadata, { 'loradrop-sha256': sha256(WEIGHTS) });

    requests.length = 0;
    await copy(local, adapter);
    t.strictSame(
      requests.filter((each) => !/^(HEAD|GET) /.test(each)),
      [],
      'what is there is not sent again',
    );
  });

  test(`${name}: from a store on the same server the server copies`, async (t) => {
    const setup = await setUp(t, start);
    if (!setup) return;
    const { copy, bytes, requests, uploads, proxy } = setup;
    const store = (await makeS3Place(proxy.port, { partBytes: PART_BYTES }).open()).all;
    t.teardown(() => store.close());
    const adapter = await publish(store, 'two');
    requests.length = 0;
    await copy(store, adapter);
    t.ok((await bytes(`copies/acme/two/${weights}`)).equals(WEIGHTS));
    t.ok((await bytes(`copies/acme/two/${config}`)).equals(CONFIG));
    const sent = requests.filter((each) => each.startsWith('PUT ') && each.includes(weights));
    t.equal(sent.length, 1);
    t.match(sent[0], / copies$/, 'no bytes of the weights went through this process');
    t.equal(await uploads(), 0);
    requests.length = 0;
    await copy(store, adapter);
    t.strictSame(
      requests.filter((each) => !/^(HEAD|GET) /.test(each)),
      [],
    );
  });
}

test('a server that does not copy by itself is streamed to', async (t) => {
  const setup = await setUp(t);
  if (!setup) return;
  const { copy, bytes, proxy, uploads } = setup;
  const store = (await makeS3Place(proxy.port, { partBytes: PART_BYTES }).open()).all;
  t.teardown(() => store.close());
  for (const [status, code] of [
    [501, 'NotImplemented'],
    [403, 'AccessDenied'],
  ] as const) {
    let refused = 0;
    proxy.fault = ({ headers }, response) => {
      if (headers['x-amz-copy-source'] === undefined) return false;
      refused += 1;
      response
        .writeHead(status, { 'content-type': 'application/xml' })
        .end(`<Error><Code>${code}</Code></Error>`);
      return true;
    };
    await copy(store, await publish(store, `three-${status}`));
    t.ok(refused > 0, String(status));
    t.ok((await bytes(`copies/acme/three-${status}/${weights}`)).equals(WEIGHTS));
  }
  t.equal(await uploads(), 0);
});

test('what is in the place and another file is not overwritten', async (t) => {
  const setup = await setUp(t);
  if (!setup) return;
  const { local, copy, put, bytes, keys } = setup;
  const adapter = await publish(local, 'four');
  for (const name of FILES) {
    await put(`copies/acme/four/${name}`, 'somebody’s');
    await t.rejects(copy(local, adapter), { code: 'destination-occupied' });
    t.equal((await bytes(`copies/acme/four/${name}`)).toString(), 'somebody’s');
    if (name === weights) t.equal((await keys()).length, 1, 'no configuration beside other weights');
  }
});

test('failures are told apart, and leave no upload', async (t) => {
  const setup = await setUp(t);
  if (!setup) return;
  const { local, copy, proxy, server, uploads, keys } = setup;
  const adapter = await publish(local, 'five');
  const answer = (
    status: number,
    code: string,
    of: (method: string, url: string) => boolean = () => true,
  ) => {
    proxy.fault = ({ method = '', url = '' }, response) => {
      if (!of(method, url)) return false;
      response
        .writeHead(status, { 'content-type': 'application/xml' })
        .end(`<Error><Code>${code}</Code></Error>`);
      return true;
    };
  };
  const isPart = (_method: string, url: string) => url.includes('partNumber=');
  answer(403, 'AccessDenied');
  await t.rejects(copy(local, adapter), { code: 'destination-denied', message: /403/ });
  answer(403, 'AccessDenied', isPart);
  await t.rejects(copy(local, adapter), { code: 'destination-denied' });
  answer(507, 'InsufficientStorage', isPart);
  await t.rejects(copy(local, adapter), { code: 'destination-full' });
  answer(500, 'InternalError', isPart);
  await t.rejects(copy(local, adapter), { code: 'destination-unavailable', message: /500/ });
  answer(404, 'NoSuchBucket', (method) => method !== 'HEAD');
  await t.rejects(copy(local, adapter), { code: 'destination-missing' });
  proxy.fault = () => false;
  t.equal(await uploads(), 0);
  t.strictSame(await keys(), []);

  const stop = new AbortController();
  const reason = new Error('stopped');
  proxy.fault = (_incoming, _response) => {
    if (isPart('', _incoming.url ?? '')) stop.abort(reason);
    return false;
  };
  await t.rejects(copy(local, adapter, stop.signal), reason);
  proxy.fault = () => false;
  t.equal(await uploads(), 0, 'after an abort');

  await server.kill();
  await t.rejects(copy(local, adapter), { code: 'destination-unavailable' });
  await server.restart();
  await copy(local, adapter);
  t.equal((await keys()).length, 2);
});

test('a source that is gone, away or damaged is told as the source’s', async (t) => {
  const setup = await setUp(t);
  if (!setup) return;
  const { local, copy, keys, uploads } = setup;
  const adapter = await publish(local, 'six');
  const path = join(local.of(TENANT).location('six'), weights);
  const whole = await readFile(path);
  await writeFile(
    path,
    whole.map((byte, at) => (at === 77 ? byte ^ 1 : byte)),
  );
  await t.rejects(copy(local, adapter), { code: 'stored-file-damaged' });
  await writeFile(path, whole.subarray(0, -1));
  await t.rejects(copy(local, adapter), { code: 'stored-file-damaged' });
  await local.of(TENANT).remove('six');
  await t.rejects(copy(local, adapter), { code: 'adapter-not-found' });
  t.strictSame(await keys(), []);
  t.equal(await uploads(), 0);
});

test('uploads that a killed process has left are ended, others are not', async (t) => {
  const setup = await setUp(t);
  if (!setup) return;
  const { local, copy, client, uploads } = setup;
  for (const id of ['seven', 'seven-too']) {
    const target = { Bucket: TEST_BUCKET, Key: `copies/acme/${id}/${weights}` };
    const { UploadId } = await client.send(new CreateMultipartUploadCommand(target));
    await client.send(new UploadPartCommand({ ...target, UploadId, PartNumber: 1, Body: 'left behind' }));
  }
  t.equal(await uploads(), 2);
  await copy(local, await publish(local, 'seven'));
  t.equal(await uploads(), 1);
});

test('an endpoint and a profile of its own, and nothing without being allowed', async (t) => {
  const first = await startVersitygw(t);
  const other = await startMoto(t);
  if (!first || !other) return;
  const setup = await setUp(t, async () => first, `?endpoint=http://127.0.0.1:${other.port}&profile=copies`);
  if (!setup) return;
  const { copy, proxy, requests, keys } = setup;
  const credentials = join(t.testdirName, 'credentials');
  await writeFile(credentials, '[copies]\naws_access_key_id = a\naws_secret_access_key = b\n');
  process.env['AWS_SHARED_CREDENTIALS_FILE'] = credentials;
  t.teardown(() => delete process.env['AWS_SHARED_CREDENTIALS_FILE']);
  const store = (await makeS3Place(proxy.port, { partBytes: PART_BYTES }).open()).all;
  t.teardown(() => store.close());
  const adapter = await publish(store, 'eight');
  let authorization = '';
  const before = await startFaultProxy(t, other.port);
  before.fault = ({ headers }) => {
    authorization = headers.authorization ?? '';
    return false;
  };
  await copy(store, adapter);
  t.strictSame(await keys(), [], 'not on the store’s own server');
  t.notOk(
    requests.some((each) => each.endsWith(' copies')),
    'which cannot copy to another',
  );
  const client = objectStorageClient(other.port);
  t.teardown(() => client.destroy());
  const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket: TEST_BUCKET }));
  t.equal(Contents.length, 2);

  const through = openDestinations({
    allowed: `acme=s3://${TEST_BUCKET}/more?endpoint=http://127.0.0.1:${before.port}&profile=copies&pathStyle=true`,
  });
  t.teardown(() => through.close());
  const options = { source: store.of(TENANT), files: FILES, signal: new AbortController().signal };
  await through.copy({ tenant: TENANT, place: { ...place, prefix: 'more/x' } }, adapter, options);
  t.match(authorization, /Credential=a\//, 'the credentials are those of the profile');
  for (const [tenant, prefix] of [
    ['acme', 'copies/acme'],
    ['other', 'more'],
  ] as const) {
    t.throws(() => through.check(tenant, { ...place, prefix }), { code: 'destination-not-allowed' });
    await t.rejects(through.copy({ tenant, place: { ...place, prefix } }, adapter, options), {
      code: 'destination-not-allowed',
    });
  }
});
