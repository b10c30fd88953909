import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import type { InjectOptions } from 'fastify';
import { test } from 'tap';
import { PROBLEMS, type Problem, type ProblemCode } from '../../src/http/problem.ts';
import { rawExchange } from './raw-exchange.ts';
import { startApi } from './start-api.ts';

/** Room for a million short prompts. */
const MAX_BODY_BYTES = 4_200_000;
const SECRET = 'correct-horse-battery';
const json = (payload: unknown): InjectOptions => ({
  method: 'POST',
  url: '/generate',
  headers: { 'content-type': 'application/json' },
  payload: typeof payload === 'string' ? payload : JSON.stringify(payload),
});
const raw = (type: string, payload: string | Buffer, more: InjectOptions = {}): InjectOptions => ({
  method: 'POST',
  url: '/generate',
  payload,
  ...more,
  headers: { 'content-type': type, ...more.headers },
});
const get = (url: string, headers: Record<string, string> = {}): InjectOptions => ({ url, headers });
const form = (body: string): InjectOptions =>
  raw('multipart/form-data; boundary=b', body.replaceAll('\n', '\r\n'));
const part = (disposition: string, content: string, type = '') =>
  `--b\nContent-Disposition: form-data; ${disposition}\n${type && `Content-Type: ${type}\n`}\n${content}\n`;

/** What is sent, the code it gets, and the pointers that are named (where some are). */
const ROWS: Record<string, [InjectOptions, ProblemCode, ...string[]]> = {
  'no prompts': [json({ prompts: [] }), 'prompts-empty'],
  'blank prompts': [json({ prompts: ['a', '', ' \n'] }), 'prompts-empty', '/prompts/1', '/prompts/2'],
  'prompts that are no strings': [
    json({ prompts: ['a', 1, null] }),
    'request-invalid',
    '/prompts/1',
    '/prompts/2',
  ],
  'prompts that are no list': [json({ prompts: SECRET }), 'request-invalid', '/prompts'],
  'no prompts field': [json({}), 'request-invalid', '/prompts'],
  'a million prompts': [json({ prompts: Array(1e6).fill('a') }), 'too-many-prompts'],
  'a million prompts that are no strings': [json({ prompts: Array(1e6).fill(1) }), 'too-many-prompts'],
  'a million lines': [raw('text/plain', 'a\n'.repeat(1e6)), 'too-many-prompts'],
  'a million JSON lines': [raw('application/jsonl', '"a"\n'.repeat(1e6)), 'too-many-prompts'],
  'too few prompts, where that is asked for': [
    json({ prompts: ['a'], strictPrompts: true }),
    'too-few-prompts',
    '/prompts',
  ],
  'too few prompts, asked for as a parameter': [
    raw('text/plain', 'a', { url: '/generate?strictPrompts=true' }),
    'too-few-prompts',
    '/prompts',
  ],
  'too few prompts, asked for in a form': [
    form(`${part('name="strictPrompts"', 'true')}${part('name="file"; filename="a.txt"', 'a')}--b--`),
    'too-few-prompts',
    '/prompts',
  ],
  'strictness as text': [
    json({ prompts: ['a'], strictPrompts: 'true' }),
    'request-invalid',
    '/strictPrompts',
  ],
  'strictness that is neither': [
    raw('text/plain', 'a', { url: '/generate?strictPrompts=yes' }),
    'request-invalid',
    '/strictPrompts',
  ],
  'a long prompt': [json({ prompts: ['a', SECRET.repeat(100)] }), 'prompt-too-long', '/prompts/1'],
  'a prompt with NUL': [json({ prompts: [`${SECRET}\0`] }), 'prompts-invalid', '/prompts/0'],
  'half a surrogate pair': [json(`{"prompts":["${SECRET}\\ud800"]}`), 'prompts-invalid', '/prompts/0'],
  'an announced body over the limit': [json({ prompts: [SECRET.repeat(1e6)] }), 'body-too-large'],
  'broken UTF-8 in JSON': [
    raw('application/json', Buffer.from([...Buffer.from('{"prompts":["'), 0xff, ...Buffer.from('"]}')])),
    'text-not-utf8',
  ],
  'broken UTF-8 in text': [raw('text/plain', Buffer.from([0x61, 0xc3])), 'text-not-utf8'],
  'broken UTF-8 in JSON lines': [
    raw('application/x-ndjson', Buffer.from([0xed, 0xa0, 0x80])),
    'text-not-utf8',
  ],
  'broken JSON': [json(`{"prompts": ["${SECRET}"`), 'json-invalid'],
  'NaN in JSON': [json(`{"prompts": ["${SECRET}"], "count": NaN}`), 'json-invalid'],
  'Infinity in JSON': [json('{"prompts": ["a"], "count": Infinity}'), 'json-invalid'],
  'JSON with __proto__': [json('{"prompts": ["a"], "__proto__": {"count": 3}}'), 'json-invalid'],
  'an empty JSON body': [json(''), 'json-invalid'],
  'JSON that is no object': [json('["a"]'), 'request-invalid', ''],
  'a number too large for one': [json('{"prompts": ["a"], "count": 1e999}'), 'request-invalid', '/count'],
  'a broken JSON line': [raw('application/x-ndjson', `"a"\n{"prompt": "${SECRET}"`), 'prompts-invalid', '/1'],
  'a JSON line without a prompt': [
    raw('application/x-ndjson', '{"utterance": "a"}'),
    'prompts-invalid',
    '/0',
  ],
  'a broken table': [raw('text/csv', `question,answer\n"${SECRET}`), 'prompts-invalid', '/1'],
  'a table of other columns': [raw('text/csv', `${SECRET}?\n${SECRET}\n`), 'prompts-invalid', '/0'],
  'a table with a short line': [
    raw('text/tab-separated-values', `question\tanswer\n${SECRET}\n`),
    'prompts-invalid',
    '/1',
  ],
  'Parquet that is none': [raw('application/vnd.apache.parquet', SECRET), 'prompts-invalid'],
  'Parquet of magic alone': [raw('application/vnd.apache.parquet', `PAR1${SECRET}PAR1`), 'prompts-invalid'],
  'two columns that fit': [
    raw('application/jsonl', JSON.stringify({ question: SECRET, query: 'b' })),
    'prompt-field-ambiguous',
  ],
  'rows with a number for a prompt': [
    json({ prompts: ['a', { prompt: 3 }] }),
    'prompts-invalid',
    '/prompts/1',
  ],
  'dialogues with their answers': [
    raw('application/jsonl', JSON.stringify({ text: `### Human: ${SECRET} ### Assistant: ${SECRET}` })),
    'prompts-hold-answers',
  ],
  'an instruction with a number for its input': [
    raw('application/jsonl', `"ok"\n${JSON.stringify({ instruction: SECRET, input: 12 })}`),
    'prompts-invalid',
    '/1',
  ],
  'a column that is not there': [
    raw('text/csv', 'question\na\n', { url: '/generate?promptField=nothing' }),
    'prompts-invalid',
    '/0',
  ],
  'a template that is none': [
    raw('text/csv', 'question\na\n', { url: '/generate?promptTemplate=%7Bquestion' }),
    'prompt-field-invalid',
  ],
  'a field and a template': [
    json({ prompts: [{ a: 'b' }], promptField: 'a', promptTemplate: '{a}' }),
    'prompt-field-invalid',
  ],
  'a long field': [json({ prompts: ['a'], promptField: 'x'.repeat(257) }), 'request-invalid', '/promptField'],
  'a number for a field': [json({ prompts: ['a'], promptField: 3 }), 'request-invalid', '/promptField'],
  'a wrong content type': [raw('application/xml', '<a/>'), 'media-type-unsupported'],
  'no content type': [
    { method: 'POST', url: '/generate', payload: 'a', headers: {} },
    'media-type-unsupported',
  ],
  'no body at all': [{ method: 'POST', url: '/generate' }, 'media-type-unsupported'],
  'a malformed content type': [raw('json;;', '{}'), 'media-type-unsupported'],
  'another charset': [raw('text/plain; charset=utf-16', 'a'), 'media-type-unsupported'],
  'another charset of a table': [
    raw('text/csv; charset=iso-8859-1', 'question\na'),
    'media-type-unsupported',
  ],
  'another charset of a file': [
    form(`${part('name="file"; filename="a.txt"', 'a', 'text/plain; charset=ISO-2022-JP')}--b--`),
    'media-type-unsupported',
  ],
  'another compression': [
    raw('text/plain', 'a', { headers: { 'content-encoding': 'br' } }),
    'media-type-unsupported',
  ],
  'two compressions': [
    raw('text/plain', 'a', { headers: { 'content-encoding': 'gzip, zstd' } }),
    'media-type-unsupported',
  ],
  'a compressed form': [
    raw('multipart/form-data; boundary=b', 'a', { headers: { 'content-encoding': 'gzip' } }),
    'media-type-unsupported',
  ],
  'a body that is not compressed as it says': [
    raw('text/plain', SECRET, { headers: { 'content-encoding': 'gzip' } }),
    'prompts-invalid',
  ],
  'a JSON body that is not compressed as it says': [
    raw('application/json', SECRET, { headers: { 'content-encoding': 'zstd' } }),
    'prompts-invalid',
  ],
  'a body that unpacks to too much': [
    raw('text/plain', gzipSync(Buffer.alloc(50_000_000)), { headers: { 'content-encoding': 'gzip' } }),
    'prompts-too-large',
  ],
  'a JSON body that unpacks to too much': [
    raw('application/json', zstdCompressSync(Buffer.alloc(50_000_000, ' ')), {
      headers: { 'content-encoding': 'zstd' },
    }),
    'prompts-too-large',
  ],
  'a body that unpacks to a bomb': [
    raw('text/plain', gzipSync(gzipSync(Buffer.alloc(50_000_000))), {
      headers: { 'content-encoding': 'gzip' },
    }),
    'prompts-too-large',
  ],
  'a form of many parts': [
    form(`${part('name="file"; filename="a.txt"', 'a').repeat(20_000)}--b--`),
    'form-invalid',
  ],
  'an unknown model': [json({ prompts: ['a'], model: 'gpt-9' }), 'model-not-found'],
  'a path for a model': [json({ prompts: ['a'], model: '../untrained' }), 'model-not-found'],
  'a negative count': [json({ prompts: ['a'], count: -1 }), 'request-invalid', '/count'],
  'no count': [json({ prompts: ['a'], count: 0 }), 'request-invalid', '/count'],
  'a fractional count': [json({ prompts: ['a'], count: 1.5 }), 'request-invalid', '/count'],
  'a count as text': [json({ prompts: ['a'], count: '2' }), 'request-invalid', '/count'],
  'a large count': [json({ prompts: ['a'], count: 33 }), 'count-too-large', '/count'],
  'a seed beyond 32 bits': [json({ prompts: ['a'], seed: 2 ** 32 }), 'request-invalid', '/seed'],
  'an unknown dtype': [json({ prompts: ['a'], dtype: 'f8' }), 'request-invalid', '/dtype'],
  'a priority of 10': [json({ prompts: ['a'], priority: 10 }), 'request-invalid', '/priority'],
  'a far deadline': [json({ prompts: ['a'], deadlineSeconds: 1e9 }), 'deadline-too-long', '/deadlineSeconds'],
  'a long retention': [
    json({ prompts: ['a'], retentionSeconds: 1e9 }),
    'retention-too-long',
    '/retentionSeconds',
  ],
  'a name with a control character': [
    json({ prompts: ['a'], name: 'a\u001b[2J' }),
    'request-invalid',
    '/name',
  ],
  'a name with half a surrogate pair': [
    json('{"prompts":["a"],"name":"\\udfff"}'),
    'request-invalid',
    '/name',
  ],
  'metadata that is no text': [
    json({ prompts: ['a'], metadata: { a: 1 } }),
    'request-invalid',
    '/metadata/a',
  ],
  'much metadata': [
    json({ prompts: ['a'], metadata: Object.fromEntries(Array.from({ length: 17 }, (_, i) => [i, ''])) }),
    'metadata-too-large',
    '/metadata',
  ],
  'metadata without end': [
    json(`{"prompts":["a"],"metadata":{${Array.from({ length: 2e5 }, (_, i) => `"${i}":1`)}}}`),
    'metadata-too-large',
    '/metadata',
  ],
  'long metadata': [
    json({ prompts: ['a'], metadata: { a: 'b'.repeat(513) } }),
    'metadata-too-large',
    '/metadata',
  ],
  'fields without end': [json(`{${Array.from({ length: 2e5 }, (_, i) => `"f${i}":1`)}}`), 'field-unknown'],
  'thirty unknown fields': [
    json({ prompts: ['a'], ...Object.fromEntries(Array.from({ length: 30 }, (_, i) => [`f${i}`, i])) }),
    'field-unknown',
    ...Array.from({ length: 20 }, (_, i) => `/f${i}`),
  ],
  'a metadata key with NUL': [
    json({ prompts: ['a'], metadata: { '\0': '' } }),
    'request-invalid',
    '/metadata',
  ],
  'unknown fields': [json({ prompts: ['a'], promts: [], 'a/b~': 1 }), 'field-unknown', '/promts', '/a~1b~0'],
  'an unknown and a wrong field': [
    json({ prompts: ['a'], x: 1, seed: 'y' }),
    'request-invalid',
    '/x',
    '/seed',
  ],
  'an unknown parameter': [raw('text/plain', 'a', { url: '/generate?cout=2' }), 'field-unknown', '/cout'],
  'a fractional parameter': [
    raw('text/plain', 'a', { url: '/generate?count=1.5' }),
    'request-invalid',
    '/count',
  ],
  'a parameter sent twice': [
    raw('text/plain', 'a', { url: '/generate?seed=1&seed=2' }),
    'request-invalid',
    '/seed',
  ],
  'an unknown parameter beside a JSON body': [
    { ...json({ prompts: ['a'] }), url: '/generate?sed=1' },
    'field-unknown',
    '/sed',
  ],
  'several adapters as one': [
    {
      ...json({ prompts: ['a'], count: 2 }),
      headers: { 'content-type': 'application/json', accept: 'application/x-tar' },
    },
    'options-conflict',
    '/count',
  ],
  'a form without files': [form(`${part('name="seed"', '1')}--b--`), 'request-invalid', '/file'],
  'a form that is cut off': [form(part('name="file"; filename="a.txt"', SECRET)), 'form-invalid'],
  'a form without boundary': [raw('multipart/form-data', 'a'), 'form-invalid'],
  'a form with another file field': [form(`${part('name="x"; filename="a.txt"', 'a')}--b--`), 'form-invalid'],
  'a form with a field twice': [
    form(`${part('name="seed"', '1')}${part('name="seed"', '2')}--b--`),
    'form-invalid',
  ],
  'a form with an unknown field': [
    form(`${part('name="file"; filename="a.txt"', 'a')}${part('name="sed"', '1')}--b--`),
    'field-unknown',
    '/sed',
  ],
  'a form with a wrong number': [
    form(`${part('name="file"; filename="a.txt"', 'a')}${part('name="count"', '1.5')}--b--`),
    'request-invalid',
    '/count',
  ],
  'a form with a picture': [
    form(`${part('name="file"; filename="a.png"', 'a', 'image/png')}--b--`),
    'media-type-unsupported',
  ],
  'an id with ../ in the path': [
    { ...json({ prompts: ['a'] }), method: 'PUT', url: '/generate/../../etc/passwd' },
    'route-not-found',
  ],
  'an encoded id with ../': [
    { ...json({ prompts: ['a'] }), method: 'PUT', url: '/generate/..%2F..%2Fetc%2Fpasswd' },
    'id-invalid',
    '/id',
  ],
  'an id with a dot': [
    { ...json({ prompts: ['a'] }), method: 'PUT', url: '/generate/a.b' },
    'id-invalid',
    '/id',
  ],
  'an id of digits': [
    { ...json({ prompts: ['a'] }), method: 'PUT', url: '/generate/123' },
    'id-invalid',
    '/id',
  ],
  'an id like those of adapters': [
    { ...json({ prompts: ['a'] }), method: 'PUT', url: '/generate/a--0' },
    'id-invalid',
    '/id',
  ],
  'an id of 57 characters': [
    { ...json({ prompts: ['a'] }), method: 'PUT', url: `/generate/${'a'.repeat(57)}` },
    'id-invalid',
    '/id',
  ],
  'a job id with ../': [get('/jobs/..%2f..%2fetc%2fpasswd'), 'id-invalid', '/id'],
  'an adapter id with ../': [get('/adapters/..%2f..%2fetc/adapter_config.json'), 'id-invalid', '/id'],
  'an adapter file with ../': [get('/adapters/a/..%2f..%2fetc%2fpasswd'), 'route-not-found'],
  'an archive id with ../': [get('/adapters/..%2f..%2fetc%2fpasswd.tar'), 'id-invalid', '/id'],
  'an unknown job': [get('/jobs/nobody'), 'job-not-found'],
  'events of an unknown job': [get('/jobs/nobody/events'), 'job-not-found'],
  'canceling an unknown job': [{ method: 'DELETE', url: '/jobs/nobody' }, 'job-not-found'],
  'an unknown adapter': [get('/adapters/nobody'), 'adapter-not-found'],
  'weights of an unknown adapter': [get('/adapters/nobody/adapter_model.safetensors'), 'adapter-not-found'],
  'archive of an unknown adapter': [get('/adapters/nobody.tar'), 'adapter-not-found'],
  'deleting an unknown adapter': [{ method: 'DELETE', url: '/adapters/nobody' }, 'adapter-not-found'],
  'an unknown model by id': [get('/models/nobody'), 'model-not-found'],
  'a foreign cursor': [get('/jobs?cursor=abc'), 'cursor-invalid'],
  'a page of no jobs': [get('/jobs?limit=0'), 'request-invalid', '/limit'],
  'an unknown status': [get('/jobs?status=done'), 'request-invalid', '/status'],
  'an unknown Accept': [
    { ...json({ prompts: ['a'] }), headers: { 'content-type': 'application/json', accept: 'image/png' } },
    'not-acceptable',
  ],
  'an Accept that refuses all': [get('/models', { accept: '*/*;q=0' }), 'not-acceptable'],
  'an Accept that is none': [get('/models', { accept: 'nonsense' }), 'not-acceptable'],
  'an empty idempotency key': [
    { ...json({ prompts: ['a'] }), headers: { 'content-type': 'application/json', 'idempotency-key': '""' } },
    'idempotency-key-invalid',
  ],
  'a range past the end': [
    get('/adapters/kept/adapter_config.json', { range: 'bytes=2-' }),
    'range-not-satisfiable',
  ],
  'an unknown address': [get('/nothing/here'), 'route-not-found'],
  'a body for an unknown address': [raw('application/xml', '<a/>', { url: '/nothing' }), 'route-not-found'],
  'a method that is not taken': [{ method: 'PATCH', url: '/generate' }, 'method-not-allowed'],
  'a broken percent-encoding': [get('/jobs/%E0%A4%A'), 'url-invalid'],
  'a long id': [get(`/jobs/${'a'.repeat(200)}`), 'id-invalid', '/id'],
  'a long address': [get(`/jobs?cursor=${'a'.repeat(9000)}`), 'uri-too-long'],
  'a page of another site': [
    {
      ...json({ prompts: ['a'] }),
      headers: { 'content-type': 'application/json', 'sec-fetch-site': 'cross-site' },
    },
    'cross-site-refused',
  ],
};

/** What no answer may show: prompts, stacks, places on this machine. */
const LEAKS = new RegExp(`${SECRET}|\\bat .*\\.(ts|js):|node_modules|/src/|/tmp/|${process.cwd()}`);

test('bad input gets its own 4xx problem, leaks nothing and enqueues nothing', async (t) => {
  const api = await startApi(t, { limits: { maxPromptChars: 2000, maxBodyBytes: MAX_BODY_BYTES } });
  const { app, queue, store } = api;
  const draft = await store.draft('kept');
  await draft.write('adapter_config.json', [Buffer.from('{}')]);
  await draft.publish({ createdAt: 0, expiresAt: Date.now() + 1e6, contentKey: '0'.repeat(64), info: {} });
  for (const [name, [options, code, ...pointers]] of Object.entries(ROWS)) {
    const response = await app.inject(options);
    const problem = response.json<Problem>();
    await t.test(name, async (t) => {
      t.equal(problem.code, code);
      t.equal(response.statusCode, PROBLEMS[code].status);
      t.ok(response.statusCode >= 400 && response.statusCode < 500);
      t.match(response.headers['content-type'], /^application\/problem\+json/);
      t.match(problem, {
        type: `/problems/${code}`,
        status: response.statusCode,
        title: String,
        detail: String,
        instance: response.headers['x-request-id'],
      });
      t.strictSame(
        (problem.errors ?? []).map(({ pointer }) => pointer),
        pointers,
      );
      t.notMatch(response.body, LEAKS);
      t.strictSame(await queue.counts(), { waiting: 0, active: 0, delayed: 0 });
      t.strictSame((await queue.list({ limit: 1 })).jobs, []);
    });
  }
  t.equal(
    (await app.inject({ method: 'PATCH', url: '/generate' })).headers.allow,
    'POST',
    '405 tells the methods there are',
  );

  const url = await api.listen();
  const { port } = new URL(url);

  const exchange = (bytes: string) => rawExchange(Number(port), bytes);

  for (const type of ['application/json', 'text/plain', 'multipart/form-data; boundary=b']) {
    await t.test(`a body of 1 GB as ${type} is refused early and its upload ends`, async (t) => {
      const total = 1e9;
      let sent = 0;
      const chunk = Buffer.alloc(64 * 1024, 'a');
      const body = Readable.from(
        (function* () {
          if (type.startsWith('multipart'))
            yield Buffer.from(part('name="file"; filename="a.txt"', '').replaceAll('\n', '\r\n'));
          for (; sent < total; sent += chunk.length) yield chunk;
        })(),
      );
      const upload = httpRequest(`${url}/generate`, { method: 'POST', headers: { 'content-type': type } });
      const answered = once(upload, 'response') as Promise<[IncomingMessage]>;
      const uploaded = pipeline(body, upload).then(
        () => 'sent',
        () => 'cut off',
      );
      const [response] = await answered;
      t.equal(response.statusCode, 413);
      t.equal(response.headers.connection, 'close');
      t.match(JSON.parse(Buffer.concat(await response.toArray()).toString()), { code: 'body-too-large' });
      t.equal(await uploaded, 'cut off');
      t.ok(sent < total / 10, `${sent} bytes were taken off the client`);
    });
  }

  await t.test('files of a form are bounded together', async (t) => {
    const file = part('name="file"; filename="a.txt"', `${'a'.repeat(1000)}\n`.repeat(1500));
    const body = Readable.from(Array(3).fill(file.replaceAll('\n', '\r\n')));
    const upload = httpRequest(`${url}/generate`, {
      method: 'POST',
      headers: { 'content-type': 'multipart/form-data; boundary=b' },
    });
    const answered = once(upload, 'response') as Promise<[IncomingMessage]>;
    await pipeline(body, upload).catch(() => undefined);
    const [response] = await answered;
    t.match(JSON.parse(Buffer.concat(await response.toArray()).toString()), { code: 'body-too-large' });
  });

  await t.test('an announced body of 1 GB is refused before it is sent', async (t) => {
    const answer = await exchange(
      'POST /generate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000000000\r\n\r\n',
    );
    t.match(answer, /^HTTP\/1.1 413 /);
    t.match(answer, /body-too-large/);
  });

  for (const [name, bytes, status, code] of [
    [
      'headers over the limit',
      `GET /livez HTTP/1.1\r\nHost: localhost\r\nX-A: ${'a'.repeat(20_000)}\r\n\r\n`,
      431,
      'headers-too-large',
    ],
    ['bytes that are not HTTP', 'hello there\r\n\r\n', 400, 'request-malformed'],
  ] as const) {
    await t.test(name, async (t) => {
      const answer = await exchange(bytes);
      t.match(answer, new RegExp(`^HTTP/1.1 ${status} `));
      t.match(answer, /content-type: application\/problem\+json/);
      t.match(JSON.parse(answer.slice(answer.indexOf('\r\n\r\n'))), { code, status, instance: /^req_/ });
      t.notMatch(answer, LEAKS);
    });
  }

  await t.test('a refusal does not cost the connection when the body was read', async (t) => {
    const response = await fetch(`${url}/generate`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{}',
    });
    t.equal(response.status, 400);
    t.equal(response.headers.get('connection'), 'keep-alive');
    await response.text();
  });

  t.strictSame(await queue.counts(), { waiting: 0, active: 0, delayed: 0 });
  t.equal((await fetch(`${url}/livez`)).status, 200, 'the process is unharmed');
  t.notMatch(api.logged(), new RegExp(SECRET), 'no prompt text in the log');
});

test('a type that is not taken is told with those that are', async (t) => {
  const { app } = await startApi(t);
  const detail = async (type: string) => (await app.inject(raw(type, 'prompts=a'))).json<Problem>().detail;
  t.match(
    await detail('application/xml'),
    /application\/xml is not taken; send application\/json, text\/plain, .* or multipart\/form-data\.$/,
  );
  t.match(
    await detail('application/x-www-form-urlencoded'),
    /With curl: -H 'content-type: application\/json'/,
  );
});

test('pages show the mark and no other', async (t) => {
  const { app } = await startApi(t);
  const icon = await app.inject('/favicon.ico');
  t.equal(icon.headers['content-type'], 'image/x-icon');
  t.same([...icon.rawPayload.subarray(0, 4)], [0, 0, 1, 0]);
  const page = (await app.inject('/docs/static/swagger-initializer.js')).body;
  t.match(page, /img\.src = 'data:image\/svg\+xml;base64,/);
  t.match((await app.inject('/docs/')).body, /<title>Loradrop API<\/title>/);
});
