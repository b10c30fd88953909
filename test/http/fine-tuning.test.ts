/** `/v1/files` and `/v1/fine_tuning`, as the unmodified client of OpenAI's API uses them. */
import { createHash } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';
import OpenAI, { toFile } from 'openai';
import { type Test, test } from 'tap';
import { createAuthenticate } from '../../src/access/authenticate.ts';
import { evaluationErrors } from '../../src/evaluation/errors.ts';
import { UNTRAINED_BUNDLE_ID } from '../helpers/untrained-bundle.ts';
import { startApi, type TestApiOptions } from './start-api.ts';

type Message = { role: string; content: unknown; weight?: number; [name: string]: unknown };
const row = (...messages: Message[]) => JSON.stringify({ messages });
const user = (content: unknown): Message => ({ role: 'user', content });
const answer = (content: unknown, weight?: number): Message => ({
  role: 'assistant',
  content,
  ...(weight !== undefined && { weight }),
});
const ROWS = Array.from({ length: 12 }, (_, index) =>
  row({ role: 'system', content: 'Be short.' }, user(`Question ${index}?`), answer(`SECRET-${index}`)),
).join('\n');

async function start(t: Test, options: TestApiOptions = {}) {
  const api = await startApi(t, options);
  const baseURL = `${await api.listen()}/v1`;
  const openai = new OpenAI({ baseURL, apiKey: 'none', maxRetries: 0 });
  const upload = async (text: string, name = 'rows.jsonl') =>
    openai.files.create({ file: await toFile(Buffer.from(text), name), purpose: 'fine-tune' });
  const finished = async (id: string) => {
    for (;;) {
      const job = await openai.fineTuning.jobs.retrieve(id);
      if (['succeeded', 'failed', 'cancelled'].includes(job.status)) return job;
    }
  };
  const events = async (id: string) => {
    const all = [];
    for await (const event of openai.fineTuning.jobs.listEvents(id, { limit: 4 })) all.push(event);
    return all;
  };
  return { api, baseURL, openai, upload, finished, events };
}

const sha256 = (bytes: ArrayBuffer) => createHash('sha256').update(Buffer.from(bytes)).digest('hex');

test('a file becomes a model', async (t) => {
  const { api, openai, upload, finished, events } = await start(t);
  const file = await upload(ROWS);
  t.match(file, { object: 'file', filename: 'rows.jsonl', purpose: 'fine-tune', status: 'processed' });
  t.match(file.id, /^file-/);
  const created = await openai.fineTuning.jobs.create({
    model: UNTRAINED_BUNDLE_ID,
    training_file: file.id,
    suffix: 'my suffix/1',
    seed: 7,
    metadata: { team: 'a' },
    hyperparameters: { n_epochs: 3, batch_size: 'auto' },
  });
  t.match(created, {
    object: 'fine_tuning.job',
    status: /queued|running|succeeded/,
    seed: 7,
    model: UNTRAINED_BUNDLE_ID,
    training_file: file.id,
    validation_file: null,
    metadata: { team: 'a' },
    hyperparameters: { n_epochs: 3, batch_size: 'auto' },
    trained_tokens: null,
    method: { type: 'supervised' },
  });
  t.match(created.id, /^ftjob-[0-9a-f]{24}$/);
  t.match(created._request_id, /^req_/);
  const job = await finished(created.id);
  t.match(job, { status: 'succeeded', error: null, trained_tokens: null, finished_at: Number });
  const model = job.fine_tuned_model!;
  t.match(model, /^ft-[\w-]+-my-suffix-1-[0-9a-f]{12}$/);

  const told = await events(created.id);
  const messages = told.map(({ message }) => message).reverse();
  t.equal(messages[0], `Created fine-tuning job: ${created.id}`);
  t.equal(messages.at(-1), 'The job has successfully completed');
  t.ok(messages.some((text) => text.startsWith(`New fine-tuned model created: ${model}`)));
  t.ok(messages.some((text) => /^The 12 answers in the training file were not used/.test(text)));
  t.ok(messages.some((text) => /^batch_size, n_epochs: taken and without effect/.test(text)));
  t.ok(messages.some((text) => /12 rows with 12 prompts, 12 of them distinct/.test(text)));
  t.ok(messages.some((text) => /system texts of 12 rows/.test(text)));
  t.equal(new Set(told.map(({ id }) => id)).size, told.length, 'every event has an id of its own');

  const record = await api.queue.find(created.id);
  t.notMatch(JSON.stringify(record), /SECRET|Be short/, 'no answer and no system text is in the job');
  const [checkpoint, ...more] = (await openai.fineTuning.jobs.checkpoints.list(created.id)).data;
  t.match(checkpoint, { fine_tuned_model_checkpoint: model, step_number: 0, metrics: { step: 0 } });
  t.equal(more.length, 0);

  const adapter = await api.store.all.of('default').find(model);
  t.equal(job.result_files.length, adapter!.files.length);
  for (const id of job.result_files) {
    const about = await openai.files.retrieve(id);
    t.equal(about.purpose, 'fine-tune-results');
    const bytes = await (await openai.files.content(id)).arrayBuffer();
    t.equal(sha256(bytes), adapter!.files.find(({ name }) => name === about.filename)!.sha256);
  }
  t.match((await openai.models.retrieve(model)).id, model);
  t.ok((await openai.models.list()).data.some(({ id }) => id === model));
  t.strictSame((await openai.models.delete(model)).deleted, true);
  await t.rejects(openai.models.retrieve(model), { status: 404, code: 'chat-model-not-found' });
  await t.rejects(openai.files.content(job.result_files[0]!), { status: 404, code: 'file-not-found' });
});

test('what users say before learned answers becomes the prompts', async (t) => {
  const { api, openai, upload, finished, events } = await start(t);
  const parts = [
    { type: 'text', text: 'What is on it?' },
    { type: 'image_url', image_url: { url: 'https://example.com/a.png' } },
  ];
  const file = await upload(
    [
      row(user('First?'), answer('A', 0), user('Second?'), answer('B', 1), user('Third?'), answer('C')),
      row({ role: 'developer', content: 'D' }, user(parts), answer('E')),
      row(
        user('Weather?'),
        { role: 'assistant', content: null, tool_calls: [{ id: 'x' }] },
        { role: 'tool', content: 'rain', tool_call_id: 'x' },
        answer('Rain.'),
      ),
      row(user('Said,'), user('and said again?'), answer('F')),
      row(user('Never?'), answer('G', 0)),
      JSON.stringify({ prompt: 'Old style?', completion: ' H' }),
    ].join('\n'),
  );
  const { id } = await openai.fineTuning.jobs.create({ model: UNTRAINED_BUNDLE_ID, training_file: file.id });
  await finished(id);
  const { payload } = (await api.queue.find(id))!;
  t.strictSame([...new Set(payload.prompts)].sort(), [
    'Old style?',
    'Said,\nand said again?',
    'Second?',
    'Third?',
    'Weather?',
    'What is on it?',
  ]);
  t.match(payload.fineTuning!.counts, {
    rows: 6,
    answers: 7,
    unweighted: 2,
    systems: 1,
    tools: 1,
    withoutPrompt: 1,
  });
  const messages = (await events(id)).map(({ message }) => message);
  t.ok(messages.some((text) => /^Tools, .* in 1 row were not used/.test(text)));
  t.ok(messages.some((text) => /^1 row gave no prompt/.test(text)));
  t.ok(messages.some((text) => /1 of 6 prompts have images/.test(text)));

  const alone = await upload(row(user('Only one?'), answer('Yes.')));
  const single = await openai.fineTuning.jobs.create({
    model: UNTRAINED_BUNDLE_ID,
    training_file: alone.id,
  });
  const told = (await events(single.id)).map(({ message }) => message);
  t.ok(told.some((text) => /has 1 row with 1 prompt, 1 of them distinct\. /.test(text)));
  t.ok(told.some((text) => text.startsWith('The 1 answer in the training file was not used: ')));
});

test('a file that cannot be used makes the job fail, with the line and what to do', async (t) => {
  const { openai, upload, finished, events } = await start(t);
  const failures: [string, RegExp][] = [
    [
      `${row(user('Q?'), answer('A'))}\n{"messages": [`,
      /^Line 2 is not JSON\. Correct the file, upload it again/,
    ],
    [row({ role: 'narrator', content: 'x' }), /^Line 1 has no known `role` in message 1/],
    [row(answer('A')), /^Line 1 has no message of the role `user`/],
    [row(user('Q?'), answer('A', 2)), /^Line 1 has a `weight` in message 2/],
    [row(user(' '), answer('A')), /Line 1 is blank/],
    ['{"input": {}, "preferred_output": []}', /preference tuning/],
    ['"just text"', /^Line 1 is text; a row is/],
    [row(user('Q?'), answer('A', 0)), /There is no prompt/],
  ];
  for (const [text, message] of failures) {
    const file = await upload(text);
    const { id } = await openai.fineTuning.jobs.create({
      model: UNTRAINED_BUNDLE_ID,
      training_file: file.id,
    });
    const job = await finished(id);
    t.match(job, { status: 'failed', fine_tuned_model: null, result_files: [] }, text);
    t.match(job.error, { code: 'invalid_training_file', param: 'training_file', message }, text);
    const [last] = await events(id);
    t.match(last, { level: 'error', message: /^The job failed\. / });
  }
  const [good, bad] = [await upload(ROWS), await upload('nothing')];
  const { id } = await openai.fineTuning.jobs.create({
    model: UNTRAINED_BUNDLE_ID,
    training_file: good.id,
    validation_file: bad.id,
  });
  t.match((await finished(id)).error, { code: 'invalid_validation_file', param: 'validation_file' });
});

test('what is not done here is refused, with the reason', async (t) => {
  const { openai, upload } = await start(t, {
    services: { modelAliases: new Map([['gpt-4o-mini', UNTRAINED_BUNDLE_ID]]) },
  });
  const file = await upload(ROWS);
  const create = (more: object) =>
    openai.fineTuning.jobs.create({ model: UNTRAINED_BUNDLE_ID, training_file: file.id, ...more });
  await t.rejects(create({ method: { type: 'dpo', dpo: { hyperparameters: { beta: 0.1 } } } }), {
    status: 400,
    code: 'fine-tuning-unsupported',
    param: 'method/type',
    message: /gradient steps/,
  });
  await t.rejects(create({ method: { type: 'reinforcement' } }), {
    status: 400,
    code: 'fine-tuning-unsupported',
  });
  await t.rejects(create({ integrations: [{ type: 'wandb', wandb: { project: 'p' } }] }), {
    status: 400,
    code: 'fine-tuning-unsupported',
  });
  await t.rejects(create({ model: 'gpt-5' }), { status: 404, code: 'model-not-found', param: 'model' });
  await t.rejects(create({ training_file: 'file-nothing' }), {
    status: 404,
    code: 'file-not-found',
    param: 'training_file',
  });
  await t.rejects(create({ suffix: 'x'.repeat(65) }), { status: 400, code: 'request-invalid' });
  await t.rejects(create({ unknown: 1 }), { status: 400, code: 'field-unknown' });
  t.match(
    await create({ integrations: null, validation_file: null, seed: null, suffix: null, metadata: null }),
    {
      object: 'fine_tuning.job',
    },
  );
  const aliased = await create({ model: 'gpt-4o-mini' });
  t.equal(aliased.model, 'gpt-4o-mini');
  const told = (await openai.fineTuning.jobs.listEvents(aliased.id)).data.map(({ message }) => message);
  t.ok(told.some((text) => text.startsWith(`gpt-4o-mini stands for ${UNTRAINED_BUNDLE_ID} here`)));
  const based = await create({ model: 'smollm2-135m-instruct' });
  const messages = (await openai.fineTuning.jobs.listEvents(based.id)).data.map(({ message }) => message);
  t.notOk(
    messages.some((text) => /stands for/.test(text)),
    'a base’s own name is no alias',
  );
  await t.rejects(create({ hyperparameters: { n_epochs: 'many' } }), {
    status: 400,
    param: 'hyperparameters/n_epochs',
    message: /n_epochs must be number\.$/,
  });
  for (const call of ['pause', 'resume'] as const) {
    await t.rejects(openai.fineTuning.jobs[call](aliased.id), {
      status: 400,
      code: 'fine-tuning-unsupported',
    });
  }
  for (const id of ['ftjob-nothing', 'nothing']) {
    await t.rejects(openai.fineTuning.jobs.retrieve(id), {
      status: 404,
      code: 'job-not-found',
      type: 'invalid_request_error',
    });
  }
});

test('jobs are listed, paged, canceled, and are nobody else’s kind of job', async (t) => {
  const { api, baseURL, openai, upload, finished } = await start(t, { work: false });
  const file = await upload(ROWS);
  const ids: string[] = [];
  for (let count = 0; count < 5; count++) {
    const job = await openai.fineTuning.jobs.create({
      model: UNTRAINED_BUNDLE_ID,
      training_file: file.id,
      metadata: { odd: String(count % 2) },
    });
    ids.unshift(job.id);
    await api.app.inject({ method: 'POST', url: '/generate', payload: { prompts: ['Other?'] } });
  }
  const listed: string[] = [];
  for await (const { id } of openai.fineTuning.jobs.list({ limit: 2 })) listed.push(id);
  t.strictSame(listed, ids, 'three pages have all of them, and no other job');
  const page = await openai.fineTuning.jobs.list({ limit: 2, after: ids[1]! });
  t.strictSame(
    page.data.map(({ id }) => id),
    ids.slice(2, 4),
  );
  t.equal(page.has_more, true);
  t.equal((await openai.fineTuning.jobs.list({ after: ids[3]! })).has_more, false);
  const odd = await openai.fineTuning.jobs.list({ metadata: { odd: '1' } });
  t.equal(odd.data.length, 2);
  await t.rejects(openai.fineTuning.jobs.list({ after: 'ftjob-nothing' }), {
    status: 400,
    code: 'cursor-invalid',
  });

  t.match(await openai.fineTuning.jobs.cancel(ids[0]!), { status: 'cancelled' });
  t.match(await finished(ids[0]!), { status: 'cancelled', fine_tuned_model: null, error: null });
  const again = await fetch(`${baseURL}/fine_tuning/jobs/${ids[0]}/cancel`, { method: 'POST' });
  t.equal(again.status, 409);
  t.equal(again.headers.get('x-should-retry'), 'false', 'clients do not try a conflict again');
  t.match(await again.json(), { error: { code: 'job-finished', type: 'invalid_request_error' } });

  const create = (key: string, seed: number) =>
    fetch(`${baseURL}/fine_tuning/jobs`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'idempotency-key': key },
      body: JSON.stringify({ model: UNTRAINED_BUNDLE_ID, training_file: file.id, seed }),
    });
  const first = (await (await create('k', 1)).json()) as { id: string };
  t.equal(((await (await create('k', 1)).json()) as { id: string }).id, first.id, 'a repeat is the same job');
  const other = await create('k', 2);
  t.equal(other.status, 409);
  t.equal(other.headers.get('x-should-retry'), 'false');
});

test('a job runs until its adapter is validated, and cannot be canceled any more', async (t) => {
  const scoring = Promise.withResolvers<void>();
  const { openai, upload, finished, events } = await start(t, {
    validation: {
      bases: async () => [{ id: 'HuggingFaceTB/SmolLM2-135M-Instruct', path: 'base.gguf' }],
      async validate() {
        await scoring.promise;
        throw evaluationErrors.ended('It took too long.');
      },
    },
  });
  const file = await upload(ROWS);
  const { id } = await openai.fineTuning.jobs.create({
    model: UNTRAINED_BUNDLE_ID,
    training_file: file.id,
    validation_file: file.id,
  });
  const isScored = async () => (await events(id)).some(({ message }) => /^Scoring the rows/.test(message));
  while (!(await isScored())) await new Promise((resolve) => setTimeout(resolve, 30));
  t.match(await openai.fineTuning.jobs.retrieve(id), { status: 'running', fine_tuned_model: null });
  await t.rejects(openai.fineTuning.jobs.cancel(id), {
    status: 409,
    code: 'job-finished',
    message: /only the validation goes on\.$/,
  });
  scoring.resolve();
  t.match(await finished(id), { status: 'succeeded', fine_tuned_model: /^ft-/ });
  const told = (await events(id)).map(({ message }) => message);
  t.ok(told.some((text) => /^The adapter was not validated\. .* It took too long\.$/.test(text)));
});

test('files', async (t) => {
  let ahead = 0;
  const { api, baseURL, openai, upload } = await start(t, { services: { now: () => Date.now() + ahead } });
  const before = Math.floor(Date.now() / 1000);
  const short = await openai.files.create({
    file: await toFile(Buffer.from(ROWS), 'a.jsonl'),
    purpose: 'fine-tune',
    expires_after: { anchor: 'created_at', seconds: 3600 },
  });
  t.ok(short.expires_at! - before >= 3600 && short.expires_at! - before < 3660);
  const others = [await upload('x\n', 'b.jsonl'), await upload('y\n', 'c.jsonl')];
  const ids = [short, ...others].map(({ id }) => id);
  const listed: string[] = [];
  for await (const { id } of openai.files.list({ limit: 1 })) listed.push(id);
  t.strictSame(listed, ids.toReversed(), 'the newest first, page by page');
  const ascending = await openai.files.list({ order: 'asc', after: ids[0]!, purpose: 'fine-tune' });
  t.strictSame(
    ascending.data.map(({ id }) => id),
    ids.slice(1),
  );
  t.equal((await openai.files.list({ purpose: 'batch' })).data.length, 0);
  t.equal(await (await openai.files.content(ids[1]!)).text(), 'x\n');
  t.match(await openai.files.retrieve(ids[1]!), { bytes: 2, filename: 'b.jsonl' });
  t.strictSame(await openai.files.delete(ids[1]!), { id: ids[1], object: 'file', deleted: true });
  for (const call of ['retrieve', 'content', 'delete'] as const) {
    const asked: Promise<unknown> = openai.files[call](ids[1]!);
    await t.rejects(asked, { status: 404, code: 'file-not-found' });
  }
  // What a tenant has is counted every ten seconds.
  ahead = 11_000;
  const usage = (await api.app.inject('/usage')).json();
  t.match(usage, { files: { used: 2, limit: 1000 } });

  const refused: [object, Record<string, unknown>][] = [
    [{ purpose: 'batch' }, { status: 400, code: 'file-purpose-unsupported', param: 'purpose' }],
    [{ expires_after: { anchor: 'created_at', seconds: 60 } }, { status: 400, code: 'request-invalid' }],
    [{ file: await toFile(Buffer.from(''), 'd.jsonl') }, { status: 400 }],
    [{ file: await toFile(Buffer.alloc((1 << 20) + 1), 'd.jsonl') }, { status: 413, code: 'file-too-large' }],
    [{ file: await toFile(Buffer.alloc(3 << 20), 'd.jsonl') }, { status: 413, code: 'file-too-large' }],
    [{ file: await toFile(Buffer.from('x'), 'd\u0007.jsonl') }, { status: 400, code: 'form-invalid' }],
  ];
  for (const [change, error] of refused) {
    const body = {
      file: await toFile(Buffer.from('x'), 'd.jsonl'),
      purpose: 'fine-tune' as const,
      ...change,
    };
    t.match(await openai.files.create(body).catch((failure) => failure), error);
  }
  const whole = await openai.files.create({
    file: await toFile(Buffer.alloc(1 << 20, 'x'), 'full.jsonl'),
    purpose: 'fine-tune',
  });
  t.equal(whole.bytes, 1 << 20, 'a file of just the limit is taken');

  const post = (body: string | FormData, headers: Record<string, string> = {}) =>
    fetch(`${baseURL}/files`, { method: 'POST', body, headers });
  const form = new FormData();
  form.set('purpose', 'fine-tune');
  t.match(await (await post(form)).json(), { error: { code: 'form-invalid' } }, 'no file');
  form.set('file', new Blob(['x']), 'x.jsonl');
  form.set('expires_after', '{"anchor": "created_at", "seconds": 3600}');
  const kept = (await (await post(form)).json()) as OpenAI.FileObject;
  t.equal(kept.expires_at! - kept.created_at, 3600, 'an object of a form may be JSON');
  for (const wrong of ['{"anchor": "created_at"}', '{', '7']) {
    form.set('expires_after', wrong);
    t.match(await (await post(form)).json(), { error: { code: 'request-invalid', param: /^expires_after/ } });
  }
  form.set('__proto__', 'x');
  t.match(await (await post(form)).json(), { error: { code: /request-invalid|field-unknown/ } });
  form.delete('expires_after');
  t.match(await (await post(form)).json(), { error: { code: 'field-unknown' } });
  form.delete('__proto__');
  form.append('purpose', 'fine-tune');
  t.match(await (await post(form)).json(), { error: { code: 'form-invalid' } }, 'a field twice');
  const broken = await post('--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\nabc', {
    'content-type': 'multipart/form-data; boundary=b',
  });
  t.match(await broken.json(), { error: { code: 'form-invalid' } }, 'cut off');
  t.equal((await post('x', { 'content-type': 'multipart/form-data' })).status, 400, 'no boundary');
  t.equal((await post('{}', { 'content-type': 'application/json' })).status, 415);
});

test('files end with their time, and count for quotas', async (t) => {
  let ahead = 0;
  const { api, openai, upload } = await start(t, {
    services: {
      now: () => Date.now() + ahead,
      authenticate: createAuthenticate({ limits: { storedBytes: 100 } }),
    },
  });
  const short = await openai.files.create({
    file: await toFile(Buffer.alloc(101, 'x'), 'short.jsonl'),
    purpose: 'fine-tune',
    expires_after: { anchor: 'created_at', seconds: 3600 },
  });
  ahead = 11_000;
  await t.rejects(upload('x'), { status: 429, code: 'quota-stored-bytes-exceeded' });
  const create = () => openai.fineTuning.jobs.create({ model: UNTRAINED_BUNDLE_ID, training_file: short.id });
  await t.rejects(create(), { status: 429, code: 'quota-stored-bytes-exceeded' }, 'files count for jobs too');
  ahead = 3_601_000;
  await t.rejects(openai.files.retrieve(short.id), { status: 404, code: 'file-not-found' });
  await t.rejects(create(), { status: 404, code: 'file-not-found' });
  t.equal((await openai.files.list()).data.length, 0);
  const names = await api.files.expired(Date.now() + ahead, 10);
  t.strictSame(names, [{ tenant: 'default', id: short.id }], 'clean-up finds it');
});

test('an upload that breaks off leaves nothing', async (t) => {
  const { api, baseURL, openai } = await start(t);
  const drafts = join(api.directory, 'store', 'files', '.drafts');
  const upload = request(`${baseURL}/files`, {
    method: 'POST',
    headers: { 'content-type': 'multipart/form-data; boundary=b', 'content-length': '100000' },
  });
  upload.on('error', () => undefined);
  upload.write('--b\r\nContent-Disposition: form-data; name="file"; filename="x.jsonl"\r\n\r\n');
  upload.write('x'.repeat(50_000));
  while ((await readdir(drafts)).length === 0) await new Promise((resolve) => setImmediate(resolve));
  t.equal((await openai.files.list()).data.length, 0, 'it is not visible while it comes');
  upload.destroy();
  while ((await readdir(drafts)).length > 0) await new Promise((resolve) => setImmediate(resolve));
  t.equal((await openai.files.list()).data.length, 0);
});
