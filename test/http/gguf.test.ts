import { test } from 'tap';
import { convertToGguf } from '../../src/adapter/convert-gguf.ts';
import type { GgufDtype } from '../../src/adapter/gguf.ts';
import type { GgufTarget } from '../../src/adapter/gguf-architecture.ts';
import { peftConfig } from '../../src/adapter/peft-config.ts';
import { writeSafetensors } from '../../src/adapter/safetensors.ts';
import { sha256 } from '../../src/base/digest.ts';
import { fillUniform, seededRandom } from '../../src/base/random.ts';
import type { Problem } from '../../src/http/problem.ts';
import type { Adapter, Job } from '../../src/http/schemas.ts';
import { layoutForBase } from '../../src/lora/bases.ts';
import { loraTensors } from '../../src/lora/tensors.ts';
import { startApi, type TestApi } from './start-api.ts';

const LAYOUT = layoutForBase({ layers: 2, hidden: 32, kv: 16, ffn: 48, rank: 4, alpha: 8 });
const TARGET = { architecture: 'llama', heads: { heads: 4, kvHeads: 2 } };
const CREATED = 1_700_000_000_000;

/** Publishes an adapter of {@link LAYOUT}; `info` is what its record says of its base. */
async function publish(
  { store }: TestApi,
  id: string,
  {
    baseModel = 'example/base',
    gguf,
    ...target
  }: Partial<GgufTarget> & { baseModel?: string; gguf?: Buffer } = {},
) {
  const random = seededRandom(1);
  const matrices = loraTensors(LAYOUT).map(({ shape }) => {
    const values = new Float32Array(shape[0] * shape[1]);
    fillUniform(random, values, 0.1);
    return values;
  });
  const weights = await bytesOf(writeSafetensors(loraTensors(LAYOUT), matrices, { dtype: 'bf16' }));
  const config = peftConfig({ id: baseModel }, LAYOUT);
  const draft = await store.draft(id);
  await draft.write('adapter_model.safetensors', [weights]);
  if (gguf) await draft.write('adapter.gguf', [gguf]);
  await draft.write('adapter_config.json', [config]);
  await draft.publish({
    createdAt: CREATED,
    expiresAt: Date.now() + 3_600_000,
    contentKey: sha256(id),
    info: {
      jobId: 'job_1',
      index: 0,
      model: 'gone',
      bundleDigest: 'a'.repeat(64),
      trained: true,
      baseModel,
      ...target,
      dtype: 'bf16',
      rank: 4,
      alpha: 8,
      device: 'cpu',
      seed: 1,
      tensors: 28,
      parameters: 1,
      promptDigests: [],
    },
  });
  const convert = (dtype: GgufDtype) =>
    bytesOf(
      convertToGguf(piecesOf(weights), { config, weightBytes: weights.length }, { dtype, target: TARGET }),
    );
  return { f16: await convert('f16'), f32: await convert('f32') };
}

async function* piecesOf(bytes: Uint8Array) {
  yield bytes;
}

async function bytesOf(content: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of content) pieces.push(piece);
  return Buffer.concat(pieces);
}

test('an adapter is sent as GGUF that is made on the way', async (t) => {
  const api = await startApi(t, { work: false });
  const wanted = await publish(api, 'a1', TARGET);
  const get = (url: string, headers: Record<string, string> = {}) => api.app.inject({ url, headers });
  const path = '/adapters/a1/adapter.gguf';
  t.equal((await get('/adapters/a1')).json<Adapter>().urls.gguf, path);

  const whole = await get(path);
  t.equal(whole.statusCode, 200);
  t.ok(whole.rawPayload.equals(wanted.f16), 'f16 is the default');
  t.match(whole.headers, {
    'content-length': String(wanted.f16.length),
    'content-type': 'application/octet-stream',
    'accept-ranges': 'bytes',
    'last-modified': 'Tue, 14 Nov 2023 22:13:20 GMT',
  });
  t.equal(whole.headers['repr-digest'], undefined, 'nobody has computed it');
  const tag = whole.headers['etag'] as string;
  t.match(tag, /^"[0-9a-f]{64}"$/);
  t.equal((await get(path)).headers['etag'], tag);

  const wide = await get(`${path}?dtype=f32`);
  t.ok(wide.rawPayload.equals(wanted.f32));
  t.equal(wide.headers['content-length'], String(wanted.f32.length));
  t.not(wide.headers['etag'], tag);
  t.match((await get(`${path}?dtype=q8`)).json<Problem>(), { code: 'request-invalid', status: 400 });
  t.match((await get(`${path}?d=f32`)).json<Problem>(), { code: 'field-unknown', status: 400 });

  const head = await api.app.inject({ method: 'HEAD', url: path });
  for (const name of ['content-length', 'content-type', 'etag', 'accept-ranges', 'last-modified']) {
    t.equal(head.headers[name], whole.headers[name], name);
  }
  t.equal(head.body, '');
  t.equal((await get(path, { 'if-none-match': tag })).statusCode, 304);
  t.match((await get(path, { 'if-match': '"x"' })).json<Problem>(), { code: 'precondition-failed' });

  const part = await get(path, { range: 'bytes=1000-2999', 'if-range': tag });
  t.equal(part.statusCode, 206);
  t.match(part.headers, {
    'content-range': `bytes 1000-2999/${wanted.f16.length}`,
    'content-length': '2000',
    etag: tag,
  });
  t.ok(part.rawPayload.equals(wanted.f16.subarray(1000, 3000)));
  const rest = await get(path, { range: `bytes=${wanted.f16.length - 5}-` });
  t.ok(rest.rawPayload.equals(wanted.f16.subarray(-5)));
  t.match((await get(path, { range: `bytes=${wanted.f16.length}-` })).json<Problem>(), {
    code: 'range-not-satisfiable',
  });
  t.match((await get('/adapters/none/adapter.gguf')).json<Problem>(), { code: 'adapter-not-found' });
});

test('a file that is kept is sent as it is, and the other format is made', async (t) => {
  const api = await startApi(t, { work: false });
  const kept = Buffer.from('what an older version made of it');
  const wanted = await publish(api, 'a1', { ...TARGET, gguf: kept });
  const whole = await api.app.inject('/adapters/a1/adapter.gguf');
  t.ok(whole.rawPayload.equals(kept));
  t.equal(whole.headers['etag'], `"${sha256(kept)}"`);
  t.ok(whole.headers['repr-digest']);
  const wide = await api.app.inject('/adapters/a1/adapter.gguf?dtype=f32');
  t.ok(wide.rawPayload.equals(wanted.f32));
  const { files } = (await api.app.inject('/adapters/a1')).json<Adapter>();
  t.match(
    files.find(({ name }) => name === 'adapter.gguf'),
    { bytes: kept.length, url: '/adapters/a1/adapter.gguf' },
  );
});

test('what an adapter does not say of its base is looked up, and what nobody knows is a problem', async (t) => {
  const api = await startApi(t, { work: false });
  const get = (id: string) => api.app.inject(`/adapters/${id}/adapter.gguf`);
  // The base of the bundle of this API; its nine heads do not fit this adapter, which shows that they were found.
  await publish(api, 'old', { baseModel: 'HuggingFaceTB/SmolLM2-135M-Instruct' });
  t.match((await get('old')).json<Problem>(), {
    code: 'adapter-mismatch',
    detail: /9 heads do not divide 32/,
  });
  await publish(api, 'older', { baseModel: 'Qwen/Qwen2.5-0.5B-Instruct' });
  t.equal((await get('older')).statusCode, 200, 'a known base, of which there is no bundle');
  t.equal((await api.app.inject('/adapters/older')).json<Adapter>().urls.gguf, undefined);
  await publish(api, 'headless', { architecture: 'mistral' });
  t.match((await get('headless')).json<Problem>(), {
    code: 'gguf-heads-unknown',
    status: 422,
    detail: /mistral/,
  });
  await publish(api, 'strange', { architecture: 'mamba' });
  t.match((await get('strange')).json<Problem>(), { code: 'gguf-unsupported', status: 422, detail: /mamba/ });
  await publish(api, 'nobodys');
  t.match((await get('nobodys')).json<Problem>(), { code: 'gguf-unsupported', detail: /example\/base/ });
  t.equal((await api.app.inject('/adapters/headless')).json<Adapter>().urls.gguf, undefined);
});

test('a request names the format, however it comes', async (t) => {
  const api = await startApi(t, { work: false });
  const body = { prompts: ['A question?'], seed: 1 };
  const put = (id: string, payload: object) =>
    api.app.inject({ method: 'PUT', url: `/generate/${id}`, payload });
  const job = await put('one', { ...body, format: 'gguf' });
  t.match(job.json<Job>(), { format: 'gguf' });
  t.match((await put('one', { ...body, format: 'gguf' })).json<Job>(), { id: 'one' });
  t.match((await put('one', body)).json<Problem>(), { code: 'job-conflict' });
  t.match((await put('two', body)).json<Job>(), { format: 'safetensors' });
  t.match((await put('two', { ...body, format: 'safetensors' })).json<Job>(), { id: 'two' });
  const text = await api.app.inject({
    method: 'POST',
    url: '/generate?format=gguf',
    payload: 'A question?\n',
    headers: { 'content-type': 'text/plain' },
  });
  t.match(text.json<Job>(), { format: 'gguf' });
  t.match((await put('three', { ...body, format: 'onnx' })).json<Problem>(), { code: 'request-invalid' });
  t.match(await api.queue.find('one'), { payload: { format: 'gguf' } });
});
