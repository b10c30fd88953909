/** The Hub view as it is on the wire. What real clients make of it: test/hub-view/clients.test.ts. */
import { type Test, test } from 'tap';
import { newApiKey } from '../../src/access/api-key.ts';
import { sha256 } from '../../src/base/digest.ts';
import { commitOf } from '../../src/store/commit.ts';
import { publishAdapter, readerOf } from '../hub-view/hub-samples.ts';
import { patternBytes } from '../suites/store-samples.ts';
import { startApi, type TestApiOptions } from './start-api.ts';

const WEIGHTS = patternBytes(300_000, 5);

async function setUp(t: Test, options: TestApiOptions = {}) {
  const api = await startApi(t, { work: false, ...options });
  const one = await publishAdapter(api.store, 'one', { weights: WEIGHTS });
  await api.store.names.set('science', one);
  const ask = (url: string, headers: object = {}, more: object = {}) =>
    api.app.inject({ method: 'GET', url, headers: { ...headers }, ...more });
  return { api, one, ask };
}
const FILE = '/default/science/resolve/main/adapter_model.safetensors';

test('the Hub view', async (parent) => {
  const { one, ask } = await setUp(parent);

  await parent.test('a repository is described in the Hub’s words', async (t) => {
    const commit = commitOf(one);
    for (const url of [
      '',
      '/revision/main',
      `/revision/${commit}`,
      '/revision/HEAD?expand=sha&expand=tags',
    ]) {
      const response = await ask(`/api/models/default/science${url}`);
      t.equal(response.statusCode, 200, url);
      t.equal(response.headers['x-repo-commit'], commit);
      t.match(response.json(), {
        id: 'default/science',
        sha: commit,
        private: false,
        gated: false,
        library_name: 'peft',
        siblings: [
          { rfilename: 'README.md' },
          { rfilename: 'adapter_config.json' },
          { rfilename: 'adapter_model.safetensors' },
        ],
      });
    }
    const withBlobs = (await ask('/api/models/default/science?blobs=true')).json();
    t.match(withBlobs.siblings[2], {
      size: WEIGHTS.length,
      lfs: { sha256: sha256(WEIGHTS), size: WEIGHTS.length },
    });
    const tree = (await ask('/api/models/default/science/tree/main?recursive=true&expand=false')).json();
    t.match(tree[2], { type: 'file', path: 'adapter_model.safetensors', lfs: { oid: sha256(WEIGHTS) } });
    t.equal(tree[0].lfs, undefined);
    t.match(tree[0].oid, /^[0-9a-f]{40}$/);
    t.notOk('lastCommit' in tree[0]);
    const expanded = (await ask('/api/models/default/science/tree/main?expand=true')).json();
    t.match(expanded[0].lastCommit, { id: commit });
  });

  await parent.test(
    'files come with the headers that clients read, whole, in ranges and headers alone',
    async (t) => {
      const headers = {
        etag: `"${sha256(WEIGHTS)}"`,
        'x-repo-commit': commitOf(one),
        'accept-ranges': 'bytes',
        'content-length': String(WEIGHTS.length),
        'content-encoding': undefined,
        'cache-control': /no-transform/,
      };
      const whole = await ask(FILE, { 'accept-encoding': 'gzip, zstd' });
      t.match(whole, { statusCode: 200, headers });
      t.ok(whole.rawPayload.equals(WEIGHTS));
      const head = await ask(FILE, { 'accept-encoding': 'identity' }, { method: 'HEAD' });
      t.match(head, { statusCode: 200, headers });
      t.equal(head.rawPayload.length, 0);
      const part = await ask(FILE, { range: 'bytes=299990-' });
      t.match(part, {
        statusCode: 206,
        headers: { 'content-range': 'bytes 299990-299999/300000', 'content-length': '10' },
      });
      t.ok(part.rawPayload.equals(WEIGHTS.subarray(299_990)));
      t.match(await ask(FILE, { range: 'bytes=300000-' }), {
        statusCode: 416,
        headers: { 'content-range': 'bytes */300000' },
      });
      t.equal((await ask(FILE, { 'if-none-match': headers.etag })).statusCode, 304);
      const readme = await ask('/default/science/resolve/main/README.md');
      t.match(readme.headers, { 'content-type': /^text\/markdown/, etag: `"${sha256(readme.rawPayload)}"` });
      t.equal(
        (await ask('/default/science/resolve/main/README.md', { range: 'bytes=4-8' })).body,
        readme.body.slice(4, 9),
      );
      const raw = await ask(FILE.replace('resolve', 'raw'));
      t.equal(
        raw.body,
        `version https://git-lfs.github.com/spec/v1\noid sha256:${sha256(WEIGHTS)}\nsize ${WEIGHTS.length}\n`,
      );
      t.equal((await ask('/default/science/raw/main/README.md')).body, readme.body);
      const byCommit = await ask(FILE.replace('main', commitOf(one)));
      t.equal(byCommit.headers.etag, headers.etag);
    },
  );

  await parent.test('paths-info takes JSON and the form of Python’s client', async (t) => {
    const url = '/api/models/default/science/paths-info/main';
    const json = await ask(url, {}, { method: 'POST', payload: { paths: ['README.md', 'x'], expand: true } });
    t.match(json.json(), [{ path: 'README.md', lastCommit: { title: /./ } }]);
    const form = await ask(
      url,
      { 'content-type': 'application/x-www-form-urlencoded' },
      { method: 'POST', payload: 'paths=README.md&paths=adapter_config.json&expand=false' },
    );
    t.match(form.json(), [{ path: 'README.md' }, { path: 'adapter_config.json' }]);
    t.notOk('lastCommit' in form.json()[0]);
    const bad = async (payload: unknown, type = 'application/json') =>
      (await ask(url, { 'content-type': type }, { method: 'POST', payload })).json().code;
    t.equal(await bad('{"paths": 5}'), 'request-invalid');
    t.equal(await bad(JSON.stringify({ paths: Array.from({ length: 101 }, () => 'x') })), 'request-invalid');
    t.equal(await bad('x', 'text/html'), 'media-type-unsupported');
    t.equal(await bad(`{"paths": ["${'x'.repeat(200_000)}"]}`), 'body-too-large');
    t.equal(await bad(''), 'request-invalid');
    t.equal((await ask(url, {}, { method: 'POST' })).json().code, 'json-invalid');
    t.equal(
      (
        await ask(
          '/generate',
          { 'content-type': 'application/x-www-form-urlencoded' },
          { method: 'POST', payload: 'a=b' },
        )
      ).json().code,
      'media-type-unsupported',
      'forms of this type are taken nowhere else',
    );
  });

  await parent.test('what is not there is answered as the Hub does', async (t) => {
    for (const [url, code] of [
      ['/api/models/default/nope', 'RepoNotFound'],
      ['/api/models/other/science', 'RepoNotFound'],
      ['/api/models/gpt2', 'RepoNotFound'],
      ['/gpt2/resolve/main/config.json', 'RepoNotFound'],
      ['/default/nope/resolve/main/adapter_config.json', 'RepoNotFound'],
      ['/jobs/x/resolve/main/adapter_config.json', 'RepoNotFound'],
      ['/api/models/default/science/revision/dev', 'RevisionNotFound'],
      ['/api/models/default/science/tree/refs%2Fpr%2F1', 'RevisionNotFound'],
      [FILE.replace('main', '0'.repeat(40)), 'RevisionNotFound'],
      ['/default/science/resolve/main/config.json', 'EntryNotFound'],
      ['/default/science/resolve/main/adapter.json', 'EntryNotFound'],
      ['/default/science/resolve/main/a/b.json', 'EntryNotFound'],
      ['/default/science/resolve/main/..%2Fadapter.json', 'EntryNotFound'],
      ['/api/models/default/science/tree/main/folder', 'EntryNotFound'],
    ] as const) {
      const response = await ask(url);
      t.match(
        response,
        { statusCode: 404, headers: { 'x-error-code': code, 'x-error-message': /^[\x20-\x7e]+$/ } },
        url,
      );
    }
    t.equal((await ask('/api/agent-harnesses')).statusCode, 404);
    t.equal((await ask('/api/datasets/default/science')).statusCode, 404);
    t.equal((await ask(FILE, {}, { method: 'DELETE' })).statusCode, 405);
    t.equal((await ask('/jobs/one')).json().code, 'job-not-found', 'other addresses are what they were');
  });
});

test('a key opens the repositories of its tenant alone, and a wrong one is told as the Hub tells it', async (t) => {
  const { key, authenticate } = readerOf('default');
  const { api, ask } = await setUp(t, { services: { authenticate } });
  await api.store.all.of('team-b').names.set('hidden', await publishAdapter(api.store.all.of('team-b'), 'x'));
  const as = (url: string, given?: string) => ask(url, given ? { authorization: `Bearer ${given}` } : {});
  t.match((await as('/api/models/default/science', key)).json(), { private: true });
  t.match(await as('/api/models/team-b/hidden', key), {
    statusCode: 404,
    headers: { 'x-error-code': 'RepoNotFound' },
  });
  t.match(await as('/api/models/default/hidden', key), { statusCode: 404 });
  t.match(await as(FILE), { statusCode: 401, headers: { 'x-error-code': 'RepoNotFound' } });
  const wrong = await as(FILE, newApiKey());
  t.match(wrong, {
    statusCode: 401,
    headers: { 'x-error-message': 'Invalid credentials in Authorization header' },
  });
  t.equal(wrong.headers['x-error-code'], undefined);
});
