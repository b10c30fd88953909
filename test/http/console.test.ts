import { gunzipSync } from 'node:zlib';
import { test } from 'tap';
import { readConsoleFiles } from '../../src/console/files.ts';
import { startApi } from './start-api.ts';

/** What the page may weigh on its way to a browser. */
const MAX_COMPRESSED_BYTES = 150_000;

test('a browser gets the console, a program an index', async (t) => {
  const { app } = await startApi(t, { work: false });
  const page = await app.inject({
    url: '/',
    headers: { accept: 'text/html,application/xhtml+xml,*/*;q=0.8' },
  });
  t.equal(page.statusCode, 200);
  t.match(page.headers['content-type'], /^text\/html/);
  t.match(page.body, /<script type="module" src="\/console\/main.js">/);
  t.notMatch(page.body, /<script(?![^>]* src=)|<style|\son\w+=|\sstyle=/, 'nothing is inline');
  const policy = String(page.headers['content-security-policy']);
  t.match(policy, /default-src 'none'/);
  t.notMatch(policy, /unsafe|https?:|\*/);
  for (const accept of ['application/json', '*/*']) {
    const index = await app.inject({ url: '/', headers: { accept } });
    t.match(index.json(), { jobs: '/jobs', openapi: '/openapi.json', chatModels: '/v1/models' });
    for (const path of Object.values(index.json<Record<string, string>>())) {
      if (!path.startsWith('/') || path === '/') continue;
      const method = path === '/generate' ? 'POST' : 'GET';
      t.not((await app.inject({ method, url: path })).statusCode, 404, path);
    }
  }
});

test('every file that the page names is there, compressed where that is taken, and not sent twice', async (t) => {
  const { app } = await startApi(t, { work: false });
  const seen = new Set<string>();
  let compressed = 0;
  const visit = async (url: string): Promise<void> => {
    if (seen.has(url)) return;
    seen.add(url);
    const response = await app.inject({
      url,
      headers: { accept: url === '/' ? 'text/html' : '*/*', 'accept-encoding': 'gzip' },
    });
    t.equal(response.statusCode, 200, url);
    t.equal(response.headers['content-encoding'], 'gzip');
    compressed += response.rawPayload.length;
    const text = gunzipSync(response.rawPayload).toString();
    // Snippets have imports of their own, in the text that they show.
    if (!url.endsWith('/snippets.js'))
      t.notMatch(text, /\bfrom\s*["'][^."']/, `${url} imports nothing by a name`);
    const again = await app.inject({
      url,
      headers: {
        accept: url === '/' ? 'text/html' : '*/*',
        'if-none-match': String(response.headers['etag']),
      },
    });
    t.equal(again.statusCode, 304);
    const named = [
      ...text.matchAll(/(?:href|src)="(\/console\/[^"]+)"/g),
      ...text.matchAll(/from\s*["']\.\/([\w-]+\.js)["']/g),
    ];
    for (const [, name] of named) await visit(name!.startsWith('/') ? name! : `/console/${name}`);
  };
  await visit('/');
  t.ok(seen.size > 10);
  const files = await readConsoleFiles();
  t.strictSame(
    [...files.keys()].filter(
      (name) => !seen.has(`/console/${name}`) && name !== 'index.html' && name !== 'types.js',
    ),
    [],
    'no file is left over',
  );
  t.ok(compressed < MAX_COMPRESSED_BYTES, `${compressed} bytes`);
  t.comment(`${seen.size} files, ${compressed} bytes compressed`);
  t.equal((await app.inject({ url: '/favicon.ico' })).statusCode, 200);
  t.equal((await app.inject({ url: '/console/nothing.js' })).statusCode, 404);
});

test('what of prompts would be used is told in every form in which they come', async (t) => {
  const counted: number[] = [];
  const { app } = await startApi(t, {
    work: false,
    services: {
      countTokens: async (_bundle, texts) => {
        counted.push(texts.length);
        return texts.map((text) => ({ tokens: text.length, kept: Math.min(4, text.length) }));
      },
    },
  });
  const ask = (payload: string, type: string) =>
    app.inject({ method: 'POST', url: '/prompts/preview', payload, headers: { 'content-type': type } });
  const rows = '{"question":"one?","id":1}\n{"question":"two?","id":2}\n{"question":"one?","id":3}\n';
  const told = (await ask(rows, 'application/x-ndjson')).json();
  t.match(told, {
    count: 3,
    distinct: 2,
    source: { field: 'question' },
    prompts: [{ text: 'one?', tokens: 4, kept: 4 }, {}, {}],
  });
  t.match((await ask('a\nb\n', 'text/plain')).json(), { count: 2, distinct: 2 });
  t.match((await ask('{"prompts":["x"]}', 'application/json')).json(), { count: 1 });
  t.match((await ask('{"prompts":["  "]}', 'application/json')).json(), { code: 'prompts-empty' });
  t.strictSame(counted, [3, 2, 1]);
});
