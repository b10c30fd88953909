import {
  CreateMultipartUploadCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  PutObjectCommand,
} from '@aws-sdk/client-s3';
import { type Test, test } from 'tap';
import { sha256 } from '../../src/base/digest.ts';
import { openStore } from '../../src/store/open-store.ts';
import { parseS3Url } from '../../src/store/s3-layout.ts';
import { until } from '../helpers/loradrop-process.ts';
import { objectStorageClient, startMoto, startVersitygw, TEST_BUCKET } from '../helpers/object-storage.ts';
import { collect, publish } from '../suites/store.ts';
import { patternBytes, sampleRecord } from '../suites/store-samples.ts';
import { type FaultProxy, startFaultProxy } from './fault-proxy.ts';
import { makeS3Place } from './s3-place.ts';

const PART_BYTES = 5 << 20;
const LARGE = patternBytes(PART_BYTES * 3 + 12_345);
const file = 'adapter_model.safetensors';
const pieces = () =>
  Array.from({ length: 64 }, (_, i) =>
    LARGE.subarray((i * LARGE.length) >> 6, ((i + 1) * LARGE.length) >> 6),
  );

/** A store on versitygw behind a proxy, and a look at what the server keeps. */
async function setUp(t: Test) {
  const server = await startVersitygw(t);
  if (!server) return undefined;
  const proxy = await startFaultProxy(t, server.port);
  const place = makeS3Place(proxy.port, {
    partBytes: PART_BYTES,
    partsInFlight: 2,
    publisherPatienceMs: 300,
  });
  const store = await place.open();
  t.teardown(() => store.close());
  const client = objectStorageClient(server.port);
  t.teardown(() => client.destroy());
  const bucket = { Bucket: TEST_BUCKET, Prefix: `${place.prefix}/adapters/` };
  return {
    server,
    proxy,
    place,
    store,
    client,
    keys: async () => {
      const { Contents = [] } = await client.send(new ListObjectsV2Command(bucket));
      return Contents.map(({ Key }) => Key!.slice(place.prefix.length + 1));
    },
    uploads: async () => (await client.send(new ListMultipartUploadsCommand(bucket))).Uploads?.length ?? 0,
  };
}

const isPart = (incoming: { url?: string | undefined; method?: string | undefined }) =>
  incoming.method === 'PUT' && incoming.url!.includes('partNumber=');

/** Does something to the first requests of a kind. */
function once(proxy: FaultProxy, times: number, fault: FaultProxy['fault']): { readonly left: number } {
  const state = { left: times };
  proxy.fault = (incoming, response) => {
    if (state.left === 0 || !isPart(incoming)) return false;
    state.left -= 1;
    return fault(incoming, response);
  };
  return state;
}

test('addresses', async (t) => {
  t.same(parseS3Url('s3://bucket'), { bucket: 'bucket', prefix: '' });
  t.same(parseS3Url('s3://bucket/a/b-1/'), { bucket: 'bucket', prefix: 'a/b-1/' });
  for (const bad of [
    's3://',
    's3://A',
    's3://ab',
    's3://bucket//a',
    's3://bucket/../a',
    's3://bucket/a b',
    's3://b..c',
    's3://-ab',
  ]) {
    t.throws(() => parseS3Url(bad), { code: 'store-address-invalid' }, bad);
  }
  t.throws(() => parseS3Url('s3://bk/x'), { message: /3 to 63/ }, 'what is wrong with a short name');
  await t.rejects(openStore('gs://bucket'), { code: 'store-address-invalid' });
});

test('a large adapter goes in parts, lies side by side and is copied inside the server', async (t) => {
  const setup = await setUp(t);
  if (!setup) return;
  const { store, keys, uploads, place } = setup;
  const draft = await store.draft('one');
  const written = await draft.write(file, pieces());
  t.same(written, { name: file, bytes: LARGE.length, sha256: sha256(LARGE) });
  await draft.write('adapter_config.json', [new TextEncoder().encode('{}')]);
  t.equal(await uploads(), 1);
  t.same(await keys(), []);
  const record = await draft.publish(sampleRecord());
  t.same(
    await keys(),
    ['adapter.json', 'adapter_config.json', file].map((name) => `adapters/default/one/${name}`),
  );
  t.equal(store.location('one'), `s3://${TEST_BUCKET}/${place.prefix}/adapters/default/one`);
  await store.copy(record, 'two', sampleRecord());
  t.ok((await collect(await store.read('two', file))).equals(LARGE));
  t.ok(
    (await collect(await store.read('one', file, { range: { start: 6_000_000, end: 6_000_009 } }))).equals(
      LARGE.subarray(6_000_000, 6_000_010),
    ),
  );
  t.equal(await uploads(), 0);
});

test('what fails or is dropped leaves no upload', async (t) => {
  const setup = await setUp(t);
  if (!setup) return;
  const { store, keys, uploads, place } = setup;
  const failure = new Error('the decoder failed');
  async function* failing() {
    yield LARGE;
    throw failure;
  }
  const draft = await store.draft('one');
  await t.rejects(draft.write(file, failing()), failure);
  t.equal(await uploads(), 0, 'after a failure of the content');
  await draft.write(file, pieces());
  await draft.write(file, pieces());
  t.equal(await uploads(), 1, 'of a file written twice the second counts');
  await draft.discard();
  t.equal(await uploads(), 0, 'after the draft was dropped');

  // As a process that was killed leaves it.
  await (await store.draft('two')).write(file, pieces());
  const other = await place.open();
  t.teardown(() => other.close());
  await other.expired(0, 1);
  t.equal(await uploads(), 1, 'a fresh one is left in peace');
  const later = await place.open({ now: () => Date.now() + 2 * 86_400_000 });
  t.teardown(() => later.close());
  await later.expired(0, 1);
  t.equal(await uploads(), 0, 'an old one is swept');
  t.same(await keys(), []);
});

test('what a process leaves that dies while it tries the store is swept', async (t) => {
  const setup = await setUp(t);
  if (!setup) return;
  const { client, place } = setup;
  const probe = { Bucket: TEST_BUCKET, Prefix: `${place.prefix}/probe/` };
  const left = async () => {
    const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand(probe));
    const { Contents = [] } = await client.send(new ListObjectsV2Command(probe));
    return [Uploads.length, Contents.length];
  };
  const target = { Bucket: TEST_BUCKET, Key: `${probe.Prefix}condition-cut-off` };
  await client.send(new CreateMultipartUploadCommand(target));
  await client.send(new PutObjectCommand({ ...target, Body: 'x' }));
  await setup.store.expired(0, 1);
  t.same(await left(), [1, 1], 'a young one may still be at it');
  const later = await place.open({ now: () => Date.now() + 2 * 86_400_000 });
  t.teardown(() => later.close());
  await later.expired(0, 1);
  t.same(await left(), [0, 0]);
});

test('the sweep looks past the first page of open uploads', async (t) => {
  const setup = await setUp(t);
  if (!setup) return;
  const { client, uploads, place } = setup;
  // A server tells of a thousand at a time.
  const begun = Array.from({ length: 1010 }, (_, index) => index);
  while (begun.length > 0) {
    await Promise.all(
      begun.splice(0, 20).map((index) =>
        client.send(
          new CreateMultipartUploadCommand({
            Bucket: TEST_BUCKET,
            Key: `${place.prefix}/adapters/default/a${index}/${file}`,
          }),
        ),
      ),
    );
  }
  t.equal(await uploads(), 1000);
  const later = await place.open({ now: () => Date.now() + 2 * 86_400_000 });
  t.teardown(() => later.close());
  await later.expired(0, 1);
  t.equal(await uploads(), 0);
});

test('faults of the server inside a part are got over', async (t) => {
  const setup = await setUp(t);
  if (!setup) return;
  const { proxy, store, uploads } = setup;
  const faults: Record<string, FaultProxy['fault']> = {
    '500': (_incoming, response) => Boolean(response.writeHead(500).end()),
    '503 with Retry-After': (_incoming, response) =>
      Boolean(response.writeHead(503, { 'retry-after': '1' }).end()),
    'a reset in the middle': (incoming) => {
      incoming.once('data', () => incoming.destroy());
      return true;
    },
  };
  for (const [index, [name, fault]] of Object.entries(faults).entries()) {
    const state = once(proxy, 3, fault);
    const draft = await store.draft(`a${index}`);
    await draft.write(file, pieces());
    await draft.publish(sampleRecord());
    t.equal(state.left, 0, `${name}: it happened`);
    t.ok((await collect(await store.read(`a${index}`, file))).equals(LARGE), name);
  }
  t.equal(await uploads(), 0);
});

test('bytes that did not arrive as they were sent are refused', async (t) => {
  const setup = await setUp(t);
  if (!setup) return;
  const { proxy, store, uploads, keys } = setup;
  proxy.answer = (headers, incoming) =>
    isPart(incoming) ? { ...headers, 'x-amz-checksum-sha256': Buffer.alloc(32).toString('base64') } : headers;
  const draft = await store.draft('one');
  await t.rejects(draft.write(file, pieces()), { code: 'store-unavailable', message: /other bytes/ });
  t.equal(await uploads(), 0);
  t.same(await keys(), []);
});

test('answers that were lost do not make a publisher its own rival', async (t) => {
  const setup = await setUp(t);
  if (!setup) return;
  const { proxy, store, uploads } = setup;
  let lost = 0;
  // The server has done what it was asked for; the client does not learn of it.
  proxy.answer = (headers, incoming) => {
    const publishes = incoming.headers['if-none-match'] !== undefined;
    if (publishes && lost < 3) {
      lost += 1;
      incoming.socket.destroy();
    }
    return headers;
  };
  const draft = await store.draft('one');
  await draft.write(file, pieces());
  await draft.write('adapter_config.json', [new TextEncoder().encode('{}')]);
  const record = await draft.publish(sampleRecord());
  t.equal(lost, 3, 'once for each file and the record');
  t.same(await store.find('one'), record);
  t.ok((await collect(await store.read('one', file))).equals(LARGE));
  t.equal(await uploads(), 0);
});

test('files of a publisher that died are taken over', async (t) => {
  const setup = await setUp(t);
  if (!setup) return;
  const { store, client, place } = setup;
  const Key = `${place.prefix}/adapters/default/one/weights.bin`;
  await client.send(new PutObjectCommand({ Bucket: TEST_BUCKET, Key, Body: 'of somebody else' }));
  await t.rejects(store.read('one', 'weights.bin'), { code: 'adapter-not-found' });
  await publish(store, 'one');
  t.ok((await collect(await store.read('one', 'weights.bin'))).equals(patternBytes(1_000)));
});

test('a removal that was cut off is ended', async (t) => {
  const setup = await setUp(t);
  if (!setup) return;
  const { store, proxy, keys, place } = setup;
  // Long before it would have expired.
  await publish(store, 'one', { expiresAt: Date.now() + 7 * 86_400_000 });
  proxy.fault = (incoming, response) =>
    incoming.method === 'DELETE' && Boolean(response.writeHead(403).end());
  await t.rejects(store.remove('one'), { code: 'store-unavailable' });
  t.equal(await store.find('one'), undefined, 'it does not show any more');
  await t.rejects(store.read('one', 'weights.bin'), { code: 'adapter-not-found' });
  proxy.fault = () => false;
  const later = await place.open({ now: () => Date.now() + 2 * 86_400_000 });
  t.teardown(() => later.close());
  t.same(await later.expired(Date.now(), 10), []);
  t.same(await keys(), []);
});

test('a server that is away is told as such, and comes back by itself', async (t) => {
  const setup = await setUp(t);
  if (!setup) return;
  const { store, server, place } = setup;
  await publish(store, 'one');
  await server.kill();
  const failure = await store.find('one').then(
    () => undefined,
    (error: unknown) => error as Error,
  );
  t.match(failure, { code: 'store-unavailable', retryable: true });
  t.notOk(
    failure!.message.includes(place.prefix) || failure!.message.includes('127.0.0.1'),
    failure!.message,
  );
  await server.restart();
  await until(async () => (await store.find('one')) !== undefined);
  await t.resolves(store.ready());
});

test('a bucket that is missing ends the start', async (t) => {
  const server = await startVersitygw(t);
  if (!server) return;
  await t.rejects(makeS3Place(server.port, { url: 's3://no-such-bucket/x' }).open(), {
    code: 'store-unavailable',
  });
});

test('a bucket that forbids writing ends the start', async (t) => {
  const server = await startVersitygw(t);
  if (!server) return;
  const proxy = await startFaultProxy(t, server.port);
  proxy.fault = ({ method }, response) => method === 'PUT' && Boolean(response.writeHead(403).end());
  await t.rejects(makeS3Place(proxy.port).open(), { code: 'store-unavailable', message: /403/ });
});

test('a server that ignores conditions is refused unless it is asked for', async (t) => {
  const server = await startMoto(t);
  if (!server) return;
  const proxy = await startFaultProxy(t, server.port);
  const place = makeS3Place(proxy.port);
  proxy.headers = ({ 'if-none-match': _, ...headers }) => headers;
  await t.rejects(place.open(), { code: 'store-writes-unconditional', message: /every write/ });
  proxy.headers = (headers) => headers;
  await (await place.open()).close();
  proxy.headers = ({ 'if-none-match': _, ...headers }) => headers;
  const store = await place.open({ allowUnconditionalWrites: true });
  t.teardown(() => store.close());
  await publish(store, 'one');
  t.ok(await store.find('one'));
});

test('a link opens one file without a key, and dies on time', async (t) => {
  const server = await startVersitygw(t);
  if (!server) return;
  const store = await makeS3Place(server.port).open();
  t.teardown(() => store.close());
  await publish(store, 'one');
  const link = (await store.link('one', 'weights.bin', { expiresInSeconds: 60 }))!;
  const answer = await fetch(link, { headers: { range: 'bytes=0-9' } });
  t.equal(answer.status, 206);
  t.ok(Buffer.from(await answer.arrayBuffer()).equals(patternBytes(10)));
  t.equal((await fetch(link.replace('/one/', '/two/'))).status, 403, 'of another adapter');
  t.equal((await fetch(link.replace('X-Amz-Expires=60', 'X-Amz-Expires=600'))).status, 403, 'made longer');
  t.equal((await fetch(link.replace('weights.bin', 'adapter.json'))).status, 403, 'of another file');
  const short = (await store.link('one', 'weights.bin', { expiresInSeconds: 1 }))!;
  await until(async () => (await fetch(short)).status === 403);
  await t.rejects(store.link('two', 'weights.bin', { expiresInSeconds: 60 }), { code: 'adapter-not-found' });
  await t.rejects(store.link('one', 'absent', { expiresInSeconds: 60 }), { code: 'adapter-not-found' });
});
