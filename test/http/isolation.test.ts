/** Every operation of the OpenAPI document, asked by everybody who may not: a new one fails until it has a case. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { LightMyRequestResponse } from 'fastify';
import { type Test, test } from 'tap';
import { digestOfKey, newApiKey } from '../../src/access/api-key.ts';
import { createAuthenticate } from '../../src/access/authenticate.ts';
import type { Scope } from '../../src/access/caller.ts';
import type { KeyEntry } from '../../src/access/key-file.ts';
import { signLink } from '../../src/access/link.ts';
import { signedFileUrl } from '../../src/http/links.ts';
import type { Problem } from '../../src/http/problem.ts';
import type { Target } from '../../src/serving/targets.ts';
import { UNTRAINED_BUNDLE_ID } from '../helpers/untrained-bundle.ts';
import { startApi, TEST_LINK_SECRET, type TestApi } from './start-api.ts';

type Document = {
  readonly paths: Readonly<
    Record<
      string,
      Readonly<Record<string, { operationId: string; security: readonly Record<string, Scope[]>[] }>>
    >
  >;
};

/** How an operation is called, about the job and the adapter with this id where it is about one. */
type Case = {
  readonly url: (id: string) => string;
  readonly payload?: object | ((id: string) => object);
  /** The bytes of a multipart form with the boundary `b`. */
  readonly form?: string;
  /** The answer to a stranger who names the owner's id is the same as for an id that nobody has. */
  readonly byId?: true;
  /** Lists and such, which answer everybody with what is theirs. */
  readonly own?: (response: LightMyRequestResponse) => unknown;
};

const body = { prompts: ['A question of mine?'], seed: 1 };
const byId = true as const;
/** Of the owner's adapter: whoever has it needs no key. What it does not open is in links.test.ts. */
const signed = (id: string, file: string) => {
  const target = { tenant: 'team-a', id, file, expiresAt: Math.floor(Date.now() / 1000) + 600 };
  return signedFileUrl(target, signLink(target, TEST_LINK_SECRET));
};
const modelUrl = (id: string) => `/api/models/team-a/name-of-${id}`;
const fileUrl = (id: string) => `/team-a/name-of-${id}/resolve/main/adapter_model.safetensors`;
const rawUrl = (id: string) => `/team-a/name-of-${id}/raw/main/adapter_model.safetensors`;
/** The owner's deployment of its adapter `mine`. */
let deployment = '';
const deploymentUrl = (id: string) => `/deployments/${id === 'mine' ? deployment : id}`;
const nameUrl = (id: string) => `/names/name-of-${id}`;
/** The owner's upload, its fine-tuning job and the model of that. */
const owned = { file: '', job: '', model: '' };
const ownedUrl = (path: string, kind: keyof typeof owned) => (id: string) =>
  `${path}/${id === 'mine' ? owned[kind] : id}`;
const uploadUrl = ownedUrl('/v1/files', 'file');
const tuningUrl = ownedUrl('/v1/fine_tuning/jobs', 'job');
const tunedUrl = ownedUrl('/v1/models', 'model');
const FORM = [
  '--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n',
  '--b\r\nContent-Disposition: form-data; name="file"; filename="rows.jsonl"\r\n\r\n',
  '{"messages": [{"role": "user", "content": "A question of mine?"}, {"role": "assistant", "content": "No."}]}\r\n--b--\r\n',
].join('');
const CASES: Readonly<Record<string, Case>> = {
  generate: { url: () => '/generate', payload: body, own: (response) => response.statusCode },
  // The same id is free for every tenant, so the request of one more is accepted as its own.
  generateWithId: { url: (id) => `/generate/${id}`, payload: body, own: (response) => response.statusCode },
  listJobs: { url: () => '/jobs', own: (response) => response.json().jobs },
  getJob: { url: (id) => `/jobs/${id}`, byId },
  followJob: { url: (id) => `/jobs/${id}/events`, byId },
  cancelJob: { url: (id) => `/jobs/${id}`, byId },
  listDeliveries: { url: (id) => `/jobs/${id}/deliveries`, byId },
  replayDelivery: { url: (id) => `/jobs/${id}/deliveries/1/replay`, byId },
  listAdapters: { url: () => '/adapters', own: (response) => response.json().adapters },
  getAdapter: { url: (id) => `/adapters/${id}`, byId },
  getAdapterNorms: { url: (id) => `/adapters/${id}/norms`, byId },
  previewPrompts: {
    url: () => '/prompts/preview',
    payload: { prompts: ['A question of mine?'] },
    own: (response) => response.statusCode,
  },
  listChatModels: { url: () => '/v1/models', own: (response) => response.json().data },
  getChatModel: { url: tunedUrl, byId },
  deleteChatModel: { url: tunedUrl, byId },
  createFile: { url: () => '/v1/files', form: FORM, own: (response) => response.statusCode },
  listFiles: { url: () => '/v1/files', own: (response) => response.json().data },
  getFile: { url: uploadUrl, byId },
  getFileContent: { url: (id) => `${uploadUrl(id)}/content`, byId },
  deleteFile: { url: uploadUrl, byId },
  createFineTuningJob: {
    url: () => '/v1/fine_tuning/jobs',
    // A stranger who names the owner's file hears what one hears who names none that there is.
    payload: (id) => ({
      model: UNTRAINED_BUNDLE_ID,
      training_file: id === 'mine' ? owned.file : 'file-nobodys',
    }),
    byId,
  },
  listFineTuningJobs: { url: () => '/v1/fine_tuning/jobs', own: (response) => response.json().data },
  getFineTuningJob: { url: tuningUrl, byId },
  cancelFineTuningJob: { url: (id) => `${tuningUrl(id)}/cancel`, byId },
  pauseFineTuningJob: { url: (id) => `${tuningUrl(id)}/pause`, byId },
  resumeFineTuningJob: { url: (id) => `${tuningUrl(id)}/resume`, byId },
  listFineTuningEvents: { url: (id) => `${tuningUrl(id)}/events`, byId },
  listFineTuningCheckpoints: { url: (id) => `${tuningUrl(id)}/checkpoints`, byId },
  // What a stranger is told of the owner's adapter is in chat.test.ts; here there is no base.
  createChatCompletion: {
    url: () => '/v1/chat/completions',
    payload: { model: 'base+mine', messages: [{ role: 'user', content: 'A question?' }] },
    byId,
  },
  getIndex: { url: () => '/' },
  transformAdapter: {
    url: (id) => `/adapters/${id}/transform`,
    payload: { transform: [{ type: 'scale', factor: 2 }] },
    byId,
  },
  deployAdapter: { url: (id) => `/adapters/${id}/deploy`, payload: { target: 'chat' }, byId },
  listDeployments: { url: () => '/deployments', own: (response) => response.json().deployments },
  getDeployment: { url: deploymentUrl, byId },
  deleteDeployment: { url: deploymentUrl, byId },
  deleteAdapter: { url: (id) => `/adapters/${id}`, byId },
  getAdapterWeights: { url: (id) => `/adapters/${id}/adapter_model.safetensors`, byId },
  'getAdapterWeightsHead-head': { url: (id) => `/adapters/${id}/adapter_model.safetensors`, byId },
  getAdapterConfig: { url: (id) => `/adapters/${id}/adapter_config.json`, byId },
  'getAdapterConfigHead-head': { url: (id) => `/adapters/${id}/adapter_config.json`, byId },
  getAdapterGguf: { url: (id) => `/adapters/${id}/adapter.gguf`, byId },
  'getAdapterGgufHead-head': { url: (id) => `/adapters/${id}/adapter.gguf`, byId },
  getAdapterArchive: { url: (id) => `/adapters/${id}.tar`, byId },
  'getAdapterArchiveHead-head': { url: (id) => `/adapters/${id}.tar`, byId },
  getLinkedWeights: { url: (id) => signed(id, 'adapter_model.safetensors') },
  'getLinkedWeightsHead-head': { url: (id) => signed(id, 'adapter_model.safetensors') },
  getLinkedConfig: { url: (id) => signed(id, 'adapter_config.json') },
  'getLinkedConfigHead-head': { url: (id) => signed(id, 'adapter_config.json') },
  listNames: { url: () => '/names', own: (response) => response.json().names },
  getName: { url: nameUrl, byId },
  setName: { url: nameUrl, payload: { adapter: 'mine' }, byId },
  deleteName: { url: nameUrl, byId },
  getRepository: { url: modelUrl, byId },
  getRepositoryRevision: { url: (id) => `${modelUrl(id)}/revision/main`, byId },
  listRepositoryFiles: { url: (id) => `${modelUrl(id)}/tree/main`, byId },
  getRepositoryPaths: {
    url: (id) => `${modelUrl(id)}/paths-info/main`,
    payload: { paths: ['adapter_config.json'] },
    byId,
  },
  getRepositoryFile: { url: fileUrl, byId },
  'getRepositoryFileHead-head': { url: fileUrl, byId },
  getRepositoryFileRaw: { url: rawUrl, byId },
  'getRepositoryFileRawHead-head': { url: rawUrl, byId },
  listModels: { url: () => '/models', own: (response) => response.statusCode },
  getModel: { url: () => `/models/${UNTRAINED_BUNDLE_ID}`, own: (response) => response.statusCode },
  getUsage: { url: () => '/usage', own: (response) => response.json().adapters.used },
  getLiveness: { url: () => '/livez' },
  getReadiness: { url: () => '/readyz' },
  getMetrics: { url: () => '/metrics' },
  listProblems: { url: () => '/problems' },
  getProblem: { url: () => '/problems/job-not-found' },
  getOpenapi: { url: () => '/openapi.json' },
};

/** Listings of what the owner has and a stranger has not. */
const OWN_LISTS = [
  'listJobs',
  'listAdapters',
  'listNames',
  'listDeployments',
  'listChatModels',
  'listFiles',
  'listFineTuningJobs',
];

/** Its server is not there. */
const TARGET: Target = {
  name: 'chat',
  kind: 'vllm',
  replicas: ['http://127.0.0.1:9'],
  bases: ['test/base'],
  maxRank: 16,
  tenants: ['*'],
  reach: 'hub',
};

const keys = {
  owner: newApiKey(),
  stranger: newApiKey(),
  third: newApiKey(),
  reader: newApiKey(),
  maker: newApiKey(),
  expired: newApiKey(),
  revoked: newApiKey(),
  server: newApiKey(),
};
const entry = (name: keyof typeof keys, changes: Partial<KeyEntry>): [string, KeyEntry] => [
  keys[name],
  {
    name,
    tenant: 'team-a',
    scopes: ['generate', 'read'],
    sha256: digestOfKey(keys[name]),
    createdAt: '2026-01-01',
    ...changes,
  },
];
const ring = new Map([
  entry('owner', {}),
  entry('stranger', { tenant: 'team-b' }),
  entry('server', { tenant: 'team-b', scopes: ['read', 'serve'] }),
  entry('third', { tenant: 'team-c' }),
  entry('reader', { scopes: ['read'] }),
  entry('maker', { scopes: ['generate'] }),
  entry('expired', { expiresAt: '2026-01-02' }),
]);

async function setUp(t: Test) {
  const authenticate = createAuthenticate({
    keys: { guarded: true, find: (key) => ring.get(key) },
    limits: {},
  });
  const api = await startApi(t, { services: { authenticate }, targets: [TARGET] });
  const ask = (method: string, which: Case, id: string, key: string | undefined) =>
    api.app.inject({
      method: method.toUpperCase() as 'GET',
      url: which.url(id),
      ...(which.payload && {
        payload: typeof which.payload === 'function' ? which.payload(id) : which.payload,
      }),
      ...(which.form !== undefined && { payload: which.form }),
      headers: {
        ...(which.form !== undefined && { 'content-type': 'multipart/form-data; boundary=b' }),
        ...(key !== undefined && { authorization: `Bearer ${key}` }),
        'x-request-id': 'same',
      },
    });
  return { api, ask };
}

/** The problem's code, which under `/v1` has OpenAI's shape. */
function codeOf(response: LightMyRequestResponse): string {
  const body = response.json<Problem & { error?: { code: string } }>();
  return body.error?.code ?? body.code;
}

/** What a client can learn from an answer, less what differs by itself. */
function told(response: LightMyRequestResponse, id: string) {
  const { date: _, ...headers } = response.headers;
  return {
    status: response.statusCode,
    headers,
    body: response.body.replaceAll(deployment, id).replaceAll(id, 'ID'),
  };
}

async function makeAdapter(api: TestApi, id: string): Promise<void> {
  const made = await api.app.inject({
    method: 'PUT',
    url: `/generate/${id}`,
    payload: { ...body, name: `name-of-${id}`, setName: true },
    headers: { authorization: `Bearer ${keys.owner}`, prefer: 'wait=30' },
  });
  if (made.json().status !== 'succeeded') throw new Error(`${id}: ${made.body}`);
}

/** Makes what {@link owned} names. */
async function fineTune(api: TestApi, ask: Awaited<ReturnType<typeof setUp>>['ask']): Promise<void> {
  const call = async (method: string, operation: string) =>
    (await ask(method, CASES[operation]!, 'mine', keys.owner)).json();
  owned.file = (await call('post', 'createFile')).id;
  owned.job = (await call('post', 'createFineTuningJob')).id;
  for await (const record of api.queue.of('team-a').watch(owned.job))
    owned.model = record.payload.adapterIds[0]!;
}

test('every operation, asked by everybody who may not', { timeout: 120_000 }, async (t) => {
  const document = JSON.parse(
    await readFile(join(import.meta.dirname, '..', '..', 'openapi', 'openapi.json'), 'utf8'),
  ) as Document;
  const { api, ask } = await setUp(t);
  await makeAdapter(api, 'mine');
  const deployed = await ask('post', CASES['deployAdapter']!, 'mine', keys.owner);
  deployment = deployed.json().id;
  await fineTune(api, ask);
  let [operations, asked] = [0, 0];
  for (const [path, methods] of Object.entries(document.paths)) {
    for (const [method, { operationId, security }] of Object.entries(methods)) {
      const which = CASES[operationId];
      const name = `${operationId} (${method} ${path})`;
      if (!which) {
        t.fail(`${name} has no case here`);
        continue;
      }
      operations += 1;
      const refused = async (key: string | undefined, status: number, code: string) => {
        asked += 1;
        const response = await ask(method, which, 'mine', key);
        t.equal(response.statusCode, status, `${name}: ${code}`);
        if (method !== 'head') t.equal(codeOf(response), code, name);
        if (status === 401) t.match(response.headers['www-authenticate'], /^Bearer realm="loradrop"/);
      };
      const scope = security[0]?.['apiKey']?.[0];
      if (scope === undefined) {
        asked += 1;
        t.equal((await ask(method, which, 'mine', undefined)).statusCode, 200, `${name} is for everybody`);
        continue;
      }
      await refused(undefined, 401, 'key-missing');
      await refused(keys.revoked, 401, 'key-invalid');
      await refused(keys.expired, 401, 'key-expired');
      await refused(scope === 'read' ? keys.maker : keys.reader, 403, 'scope-missing');
      asked += 1;
      if (which.byId) {
        const named = told(await ask(method, which, 'mine', keys.stranger), 'mine');
        const unknown = told(await ask(method, which, 'nobodys', keys.stranger), 'nobodys');
        t.equal(named.status, 404, `${name}: a stranger`);
        t.strictSame(named, unknown, `${name}: a stranger's id answers as an unknown one`);
      } else if (which.own) {
        // What this one makes must not be there when the stranger looks.
        const key = scope === 'generate' ? keys.third : keys.stranger;
        const seen = which.own(await ask(method, which, 'mine', key));
        if (OWN_LISTS.includes(operationId)) t.strictSame(seen, [], `${name}: a stranger sees its own`);
        else if (operationId === 'getUsage') t.equal(seen, 0, `${name}: a stranger has its own`);
        else t.ok([200, 202].includes(seen as number), `${name}: a stranger is served as itself`);
      } else t.fail(`${name}: the case says nothing of strangers`);
      t.match(
        await api.queue.of('team-a').find('mine'),
        { status: 'succeeded' },
        `${name}: what is the owner's is untouched`,
      );
      t.ok(await api.store.all.of('team-a').find('mine'));
      t.ok(await api.store.all.of('team-a').names.find('name-of-mine'));
      t.ok(await api.store.all.of('team-a').find(owned.model));
      t.ok(await api.files.of('team-a').find(owned.file));
      const kept = await ask('get', CASES['getDeployment']!, 'mine', keys.owner);
      t.match(
        kept.json(),
        { adapter: 'mine', state: 'pending' },
        `${name}: the owner's deployment is untouched`,
      );
    }
  }
  t.strictSame(Object.keys(CASES).length, operations, 'no case is left over');
  t.comment(`${operations} operations, ${asked} requests`);
});

test('a repeat is not taken from another tenant, and an Idempotency-Key is its tenant’s own', async (t) => {
  const { api } = await setUp(t);
  const generate = (key: string, headers: object = {}) =>
    api.app.inject({
      method: 'POST',
      url: '/generate',
      payload: body,
      headers: { authorization: `Bearer ${key}`, prefer: 'wait=30', ...headers },
    });
  const first = (await generate(keys.owner, { 'idempotency-key': 'k' })).json();
  const again = (await generate(keys.owner, { 'idempotency-key': 'k' })).json();
  t.equal(first.id, again.id);
  const other = await generate(keys.stranger, { 'idempotency-key': 'k' });
  t.equal(other.json().id, first.id, 'two tenants may use one key, and get one id each');
  t.not(other.json().acceptedAt, first.acceptedAt, 'but not one job');
  t.strictSame((await api.queue.of('team-b').list({ limit: 10 })).jobs.length, 1);
});

test('a key of a model server reads the Hub view of every tenant, and nothing else of others', async (t) => {
  const { api } = await setUp(t);
  await makeAdapter(api, 'mine');
  const ask = (url: string, key: string, method: 'GET' | 'DELETE' | 'PUT' = 'GET') =>
    api.app.inject({
      method,
      url,
      headers: { authorization: `Bearer ${key}` },
      ...(method === 'PUT' && { payload: { adapter: 'mine' } }),
    });
  const file = '/team-a/name-of-mine/resolve/main/adapter_config.json';
  t.equal((await ask(file, keys.server)).statusCode, 200);
  t.equal((await ask(file, keys.stranger)).statusCode, 404, 'which takes the scope');
  t.equal((await ask('/team-a/nobodys/resolve/main/adapter_config.json', keys.server)).statusCode, 404);
  for (const url of [
    '/jobs/mine',
    '/adapters/mine',
    '/adapters/mine/adapter_config.json',
    '/names/name-of-mine',
  ]) {
    t.equal((await ask(url, keys.server)).statusCode, 404, url);
  }
  t.equal((await ask('/adapters/mine', keys.server, 'DELETE')).statusCode, 403);
  t.equal((await ask('/names/name-of-mine', keys.server, 'PUT')).statusCode, 403);
});
