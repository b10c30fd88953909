import { once } from 'node:events';
import { get as httpGet, type IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import { test } from 'tap';
import { extract, type Header as TarHeader } from 'tar-stream';
import { parseSafetensorsHeader } from '../../src/adapter/safetensors-header.ts';
import { sha256 } from '../../src/base/digest.ts';
import type { Problem } from '../../src/http/problem.ts';
import type { Adapter, Job, JobProgressView, Model } from '../../src/http/schemas.ts';
import { startApi } from './start-api.ts';

const PROMPTS = Array.from({ length: 16 }, (_, index) => `What is ${index} plus ${index}?`);
const DIGESTS = PROMPTS.map((prompt) => sha256(prompt));

type Event = { readonly id: number; readonly event: string; readonly data: Job & JobProgressView };

function parseEvents(text: string): Event[] {
  return text
    .split('\n\n')
    .filter((block) => block.startsWith('id: '))
    .map((block) => {
      const [, id, event, data] = /^id: (\d+)\nevent: (\w+)\ndata: (.*)$/.exec(block)!;
      return { id: Number(id), event: event!, data: JSON.parse(data!) };
    });
}

async function untar(bytes: Buffer): Promise<Map<string, Buffer>> {
  const files = new Map<string, Buffer>();
  const reader = Readable.from([bytes]).pipe(extract());
  for await (const entry of reader) {
    const chunks: Buffer[] = [];
    for await (const chunk of entry) chunks.push(chunk as Buffer);
    files.set((entry.header as TarHeader).name, Buffer.concat(chunks));
  }
  return files;
}

test('generation, in every form of request and answer', async (t) => {
  const api = await startApi(t, { heartbeatMs: 100 });
  const { app } = api;
  const post = (payload: Record<string, unknown>, headers: Record<string, string> = {}) =>
    app.inject({ method: 'POST', url: '/generate', payload, headers });
  const finished = async (payload: Record<string, unknown>): Promise<Job> =>
    (await post(payload, { prefer: 'wait=30' })).json();
  const getJob = async (id: string): Promise<Job> => (await app.inject(`/jobs/${id}`)).json();

  await t.test('202 with where to go, and the job there', async (t) => {
    const response = await post({ prompts: PROMPTS, seed: 3, name: 'n', metadata: { a: 'b' } });
    const job = response.json<Job>();
    t.equal(response.statusCode, 202);
    t.equal(response.headers.location, `/jobs/${job.id}`);
    t.match(job, {
      status: 'queued',
      position: Number,
      fraction: 0,
      count: 1,
      seed: 3,
      dtype: 'bf16',
      name: 'n',
      metadata: { a: 'b' },
      trained: false,
      warnings: [/untrained/],
      urls: {
        self: `/jobs/${job.id}`,
        events: `/jobs/${job.id}/events`,
        cancel: `/jobs/${job.id}`,
        adapter: `/adapters/${job.id}`,
      },
      adapters: [{ id: job.id, url: `/adapters/${job.id}`, promptDigests: DIGESTS }],
    });
    await app.inject(job.urls.events);
    t.match(await getJob(job.id), {
      status: 'succeeded',
      stage: 'done',
      fraction: 1,
      attempts: 1,
      device: 'cpu',
      timings: { totalMs: Number },
      adapters: [{ sha256: String, bytes: 312, tensors: 2, parameters: 16, fromStore: false }],
    });
    t.match(
      (await app.inject('/metrics')).body,
      /loradrop_jobs_accepted_total\{model="smollm2-135m-untrained"\} 1\n/,
    );
  });

  await t.test('Prefer: wait', async (t) => {
    const done = await post({ prompts: PROMPTS }, { prefer: 'respond-async, wait=30' });
    t.equal(done.statusCode, 200);
    t.equal(done.headers['preference-applied'], 'wait=30');
    t.equal(done.json<Job>().status, 'succeeded');
    const late = await post({ prompts: PROMPTS, name: 'held' }, { prefer: 'wait=0' });
    t.equal(late.statusCode, 202);
    const failed = await post({ prompts: PROMPTS, name: 'fails' }, { prefer: 'wait=30' });
    t.equal(failed.statusCode, 200);
    t.match(failed.json<Job>(), {
      status: 'failed',
      error: { code: 'adapter-not-finite', type: '/problems/adapter-not-finite', status: 500, detail: /NaN/ },
    });
    const canceled = await app.inject({ method: 'DELETE', url: `/jobs/${late.json<Job>().id}` });
    t.equal(canceled.statusCode, 200);
    t.equal(canceled.json<Job>().status, 'canceled');
    const again = await app.inject({ method: 'DELETE', url: `/jobs/${late.json<Job>().id}` });
    t.match(again.json<Problem>(), { code: 'job-finished', status: 409 });
  });

  await t.test('prompts are drawn: fewer, more, and several adapters', async (t) => {
    const few = await finished({ prompts: ['a', 'b'], seed: 1 });
    t.match(few.warnings[0], /16.*2/);
    t.strictSame(new Set(few.adapters[0]!.promptDigests), new Set([sha256('a'), sha256('b')]));
    t.equal(few.adapters[0]!.promptDigests!.length, 16);

    const many = Array.from({ length: 40 }, (_, index) => `prompt ${index}`);
    const drawn = await finished({ prompts: many, seed: 1, count: 3 });
    t.strictSame(
      drawn.adapters.map(({ id }) => id),
      [0, 1, 2].map((index) => `${drawn.id}--${index}`),
    );
    for (const adapter of drawn.adapters) {
      t.equal(new Set(adapter.promptDigests).size, 16);
      t.match((await app.inject(adapter.url)).json<Adapter>(), {
        id: adapter.id,
        jobId: drawn.id,
        promptDigests: adapter.promptDigests!,
        trained: false,
      });
    }
    const again = await finished({ prompts: many, seed: 1, count: 3 });
    t.strictSame(
      again.adapters.map(({ sha256 }) => sha256),
      drawn.adapters.map(({ sha256 }) => sha256),
      'the same seed draws the same',
    );
  });

  await t.test('the other bodies say the same', async (t) => {
    const reference = await finished({ prompts: PROMPTS, seed: 9, dtype: 'f32' });
    const boundary = 'frontier';
    const part = (disposition: string, content: string) =>
      `--${boundary}\r\nContent-Disposition: form-data; ${disposition}\r\n\r\n${content}\r\n`;
    const halves = [PROMPTS.slice(0, 10), PROMPTS.slice(10)];
    const bodies: Record<string, [string, string]> = {
      text: ['text/plain; charset=utf-8', `${PROMPTS.join('\n\n')}\r\n`],
      'JSON lines': [
        'application/x-ndjson',
        PROMPTS.map((prompt) => JSON.stringify({ prompt, answer: 1 })).join('\n'),
      ],
      JSONL: ['application/jsonl', PROMPTS.map((prompt) => JSON.stringify(prompt)).join('\n')],
      chat: [
        'application/jsonl',
        PROMPTS.map((content) => JSON.stringify({ messages: [{ role: 'user', content }] })).join('\n'),
      ],
      form: [
        `multipart/form-data; boundary=${boundary}`,
        [
          part('name="seed"', '9'),
          part('name="file"; filename="a.txt"', halves[0]!.join('\n')),
          part('name="file"; filename="b.json"', JSON.stringify(halves[1])),
          part('name="dtype"', 'f32'),
          `--${boundary}--\r\n`,
        ].join(''),
      ],
    };
    for (const [name, [type, payload]] of Object.entries(bodies)) {
      const response = await app.inject({
        method: 'POST',
        url: name === 'form' ? '/generate' : '/generate?seed=9&dtype=f32',
        headers: { 'content-type': type, prefer: 'wait=30' },
        payload,
      });
      const job = response.json<Job>();
      t.equal(job.adapters?.[0]?.sha256, reference.adapters[0]!.sha256, name);
      t.strictSame(job.adapters?.[0]?.promptDigests, DIGESTS, name);
    }
  });

  await t.test('the adapter as the answer', async (t) => {
    const headers = { 'content-type': 'application/json' };
    const weights = await app.inject({
      method: 'POST',
      url: '/generate',
      payload: { prompts: PROMPTS },
      headers: { ...headers, accept: 'application/octet-stream', 'if-none-match': '*', range: 'bytes=0-1' },
    });
    t.equal(weights.statusCode, 200);
    t.equal(weights.headers['content-type'], 'application/octet-stream');
    t.equal(weights.headers.etag, `"${sha256(weights.rawPayload)}"`);
    t.match(weights.headers['content-location'], /^\/adapters\/job_/);
    const headerBytes = Number(weights.rawPayload.readBigUInt64LE());
    const header = parseSafetensorsHeader(weights.rawPayload.subarray(8, 8 + headerBytes), 32);
    t.equal(header.tensors.length, 2);

    const tar = await app.inject({
      method: 'POST',
      url: '/generate',
      payload: { prompts: PROMPTS },
      headers: { ...headers, accept: 'application/json;q=0.5, application/x-tar' },
    });
    t.equal(tar.headers['content-type'], 'application/x-tar');
    t.equal(tar.headers['content-length'], String(tar.rawPayload.length));
    const id = tar.headers.location!.toString().replace('/jobs/', '');
    const files = await untar(tar.rawPayload);
    t.strictSame([...files.keys()].sort(), [`${id}/adapter_config.json`, `${id}/adapter_model.safetensors`]);
    t.same(
      files.get(`${id}/adapter_model.safetensors`),
      weights.rawPayload,
      'the same prompts, the same bytes',
    );

    const failed = await app.inject({
      method: 'POST',
      url: '/generate',
      payload: { prompts: PROMPTS, name: 'fails' },
      headers: { ...headers, accept: 'application/x-tar' },
    });
    t.match(failed.json<Problem>(), { code: 'adapter-not-finite', status: 500, instance: String });
    const unfinished = await app.inject({
      method: 'POST',
      url: '/generate',
      payload: { prompts: PROMPTS, name: 'held' },
      headers: { ...headers, accept: 'application/x-tar', prefer: 'wait=1' },
    });
    t.match(unfinished.json<Problem>(), { code: 'job-unfinished', status: 504 });
    t.ok(unfinished.headers['retry-after']);
    const location = unfinished.headers.location!.toString();
    t.equal((await app.inject({ method: 'DELETE', url: location })).statusCode, 200);
  });

  await t.test('created at most once', async (t) => {
    const put = (payload: Record<string, unknown>, id = 'mine') =>
      app.inject({ method: 'PUT', url: `/generate/${id}`, payload, headers: { prefer: 'wait=30' } });
    const first = await put({ prompts: PROMPTS });
    t.equal(first.statusCode, 200);
    t.match(first.json<Job>(), { id: 'mine', status: 'succeeded', adapters: [{ id: 'mine' }] });
    const same = await put({ prompts: PROMPTS, count: 1, dtype: 'bf16', strictPrompts: false });
    t.equal(same.statusCode, 200);
    t.strictSame(same.json<Job>(), first.json<Job>(), 'defaults spelled out are the same request');
    const other = await put({ prompts: PROMPTS, seed: 1 });
    t.match(other.json<Problem>(), { code: 'job-conflict', status: 409 });
    t.equal((await put({ prompts: PROMPTS, strictPrompts: true })).json<Problem>().code, 'job-conflict');
    t.match((await put({ prompts: PROMPTS, strictPrompts: true }, 'strict')).json<Job>(), {
      status: 'succeeded',
      adapters: [{ promptDigests: DIGESTS }],
    });

    const keyed = (payload: Record<string, unknown>, key: string) =>
      post(payload, { 'idempotency-key': key });
    const one = (await keyed({ prompts: ['a'] }, '"k 1"')).json<Job>();
    t.match(one.id, /^key_[0-9a-f]{40}$/);
    t.match(
      (await keyed({ prompts: ['a'] }, 'k 1')).json<Job>(),
      { id: one.id, seed: one.seed },
      'the drawn seed stays',
    );
    t.equal((await keyed({ prompts: ['b'] }, 'k 1')).json<Problem>().code, 'job-conflict');
    t.not((await keyed({ prompts: ['a'] }, 'k 2')).json<Job>().id, one.id);
    const many = await Promise.all(Array.from({ length: 10 }, () => keyed({ prompts: ['c'] }, 'k 3')));
    t.equal(new Set(many.map((response) => response.json<Job>().seed)).size, 1, 'also when sent at once');
  });

  await t.test('events, from the start and resumed', async (t) => {
    const url = await api.listen();
    const job = (await post({ prompts: PROMPTS, name: 'held' })).json<Job>();
    const follow = async (lastEventId?: number) => {
      const request = httpGet(`${url}/jobs/${job.id}/events`, {
        headers: lastEventId === undefined ? {} : { 'last-event-id': String(lastEventId) },
      });
      const [response] = (await once(request, 'response')) as [IncomingMessage];
      return response.setEncoding('utf8');
    };
    const stream = await follow();
    t.match(stream.headers['content-type'], /^text\/event-stream/);
    t.match(stream.headers['cache-control'], /no-cache/);
    let text = '';
    for await (const chunk of stream) {
      text += chunk;
      if (/"stage":"decoding"/.test(text) && /: still here/.test(text)) break;
    }
    t.match(text, /^retry: \d+\n\n/);
    t.match(text, /: still here/, 'a comment where there is no news');
    const seen = parseEvents(text).at(-1)!;

    const resumed = await follow(seen.id);
    const rest = resumed.toArray();
    api.release();
    const events = parseEvents((await rest).join(''));
    t.equal(events.at(-1)!.event, 'succeeded');
    t.strictSame(events.at(-1)!.data, await getJob(job.id), 'the last event has the whole job');
    const ids = [...parseEvents(text), ...events].map(({ id }) => id);
    t.strictSame(
      ids,
      [...ids].sort((a, b) => a - b),
      'ids rise',
    );
    t.ok(
      events.every(({ id }) => id > seen.id),
      'what was seen is not sent again',
    );

    t.equal((await follow(events.at(-1)!.id)).statusCode, 204, 'nothing is left after the final event');
    const whole = parseEvents((await (await follow()).toArray()).join(''));
    t.strictSame(
      whole.map(({ event }) => event),
      ['succeeded'],
      'a late reader gets the end',
    );

    const posted = await app.inject({
      method: 'POST',
      url: '/generate',
      payload: { prompts: PROMPTS },
      headers: { accept: 'text/event-stream' },
    });
    t.match(posted.headers.location, /^\/jobs\/job_/);
    const own = parseEvents(posted.body);
    t.equal(own[0]!.event, 'progress');
    t.equal(own.at(-1)!.event, 'succeeded');
  });

  await t.test('listing', async (t) => {
    const list = async (query: string) =>
      (await app.inject(`/jobs${query}`)).json<{ jobs: Job[]; nextCursor?: string }>();
    const all = await list('?limit=100');
    t.ok(all.jobs.length > 10);
    t.equal(all.jobs[0]!.adapters[0]!.promptDigests, undefined, 'digests are left out of listings');
    const times = all.jobs.map(({ acceptedAt }) => acceptedAt);
    t.strictSame(times, [...times].sort().reverse(), 'newest first');
    const paged: string[] = [];
    for (let query = '?limit=4'; query; ) {
      const page = await list(query);
      t.ok(page.jobs.length <= 4);
      paged.push(...page.jobs.map(({ id }) => id));
      query = page.nextCursor ? `?limit=4&cursor=${encodeURIComponent(page.nextCursor)}` : '';
    }
    t.strictSame(
      paged,
      all.jobs.map(({ id }) => id),
      'pages make up the whole',
    );
    const failed = await list('?status=failed&model=smollm2-135m-untrained');
    t.ok(failed.jobs.length > 0);
    t.ok(failed.jobs.every(({ status }) => status === 'failed'));
    t.strictSame((await list('?model=none')).jobs, []);
  });

  await t.test('models', async (t) => {
    const { models, refused } = (await app.inject('/models')).json<{ models: Model[]; refused: unknown[] }>();
    t.strictSame(refused, []);
    t.match(models, [
      {
        id: 'smollm2-135m-untrained',
        default: true,
        trained: false,
        notice: /random effect/,
        condition: { prompts: 16 },
      },
    ]);
    t.strictSame((await app.inject(models[0]!.urls.self)).json(), models[0]);
    t.notMatch(JSON.stringify(models), /\/tmp/, 'no directory is shown');
  });

  await t.test('no prompt is logged, every request is', async (t) => {
    const logged = api.logged();
    t.notMatch(logged, /What is \d+ plus/);
    t.match(logged, /"route":"\/jobs\/:id\/events","status":200/);
    t.match(logged, /"route":"\/jobs\/:id\/events","status":499/, 'also one whose client left');
    t.notMatch(logged, /"route":"\/models","status":499/);
    t.match(logged, /"msg":"job accepted"/);
  });
});

test('a full queue, a stopping service, and readiness', async (t) => {
  const api = await startApi(t, { maxWaiting: 1, work: false });
  const { app } = api;
  // Async, since inject() alone sends nothing until it is awaited.
  const post = async (headers: Record<string, string> = {}) =>
    app.inject({ method: 'POST', url: '/generate', payload: { prompts: ['a'] }, headers });
  const waiting = post({ prefer: 'wait=60' });
  let first: Job | undefined;
  while (!first) {
    [first] = (await app.inject('/jobs')).json<{ jobs: Job[] }>().jobs;
    // The embedded queue answers without a turn of the event loop, which the other request needs.
    await setImmediate();
  }
  t.match(first, { status: 'queued', position: 0 });
  const full = await post();
  t.match(full.json<Problem>(), { code: 'queue-full', status: 429 });
  t.ok(Number(full.headers['retry-after']) > 0);

  t.match((await app.inject('/readyz')).json(), { ready: true, draining: false });
  api.readiness = {
    ready: false,
    parts: { queue: { ready: true }, engine: { ready: false, detail: 'starting' } },
  };
  const unready = await app.inject('/readyz');
  t.match(unready.json(), {
    code: 'not-ready',
    status: 503,
    ready: false,
    detail: /engine/,
    parts: { engine: { detail: 'starting' } },
  });
  api.readiness = { ready: true, parts: {} };

  const url = await api.listen();
  const events = await fetch(`${url}${first.urls.events}`);
  api.drain();
  t.match((await app.inject('/readyz')).json(), { code: 'not-ready', draining: true });
  t.match((await post()).json<Problem>(), { code: 'draining', status: 503 });
  t.equal((await app.inject(first.urls.self)).statusCode, 200, 'reading goes on');
  await app.close();
  t.match(await events.text(), /event: progress/, 'streams end');
  t.equal((await waiting).statusCode, 202, 'waits end');
});
