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
  readonly payload?: object;
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
const nameUrl = (id: string) => `/names/name-of-${id}`;
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
  getAdapter: { url: (id) => `/adapters/${id}`, byId },
  transformAdapter: {
    url: (id) => `/adapters/${id}/transform`,
    payload: { transform: [{ type: 'scale', factor: 2 }] },
    byId,
  },
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

const keys = {
  owner: newApiKey(),
  stranger: newApiKey(),
  third: newApiKey(),
  reader: newApiKey(),
  maker: newApiKey(),
  expired: newApiKey(),
  revoked: newApiKey(),
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
  const api = await startApi(t, { services: { authenticate } });
  const ask = (method: string, which: Case, id: string, key: string | undefined) =>
    api.app.inject({
      method: method.toUpperCase() as 'GET',
      url: which.url(id),
      ...(which.payload && { payload: which.payload }),
      headers: {
        ...(key !== undefined && { authorization: `Bearer ${key}` }),
        'x-request-id': 'same',
      },
    });
  return { api, ask };
}

/** What a client can learn from an answer, less what differs by itself. */
function told(response: LightMyRequestResponse, id: string) {
  const { date: _, ...headers } = response.headers;
  return { status: response.statusCode, headers, body: response.body.replaceAll(id, 'ID') };
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

test('every operation, asked by everybody who may not', { timeout: 120_000 }, async (t) => {
  const document = JSON.parse(
    await readFile(join(import.meta.dirname, '..', '..', 'openapi', 'openapi.json'), 'utf8'),
  ) as Document;
  const { api, ask } = await setUp(t);
  await makeAdapter(api, 'mine');
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
        if (method !== 'head') t.equal(response.json<Problem>().code, code, name);
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
        if (['listJobs', 'listNames'].includes(operationId))
          t.strictSame(seen, [], `${name}: a stranger sees its own`);
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
