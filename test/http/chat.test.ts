/** `/v1`, as the unmodified client of OpenAI's API uses it. */
import OpenAI from 'openai';
import { type Test, test } from 'tap';
import { digestOfKey, newApiKey } from '../../src/access/api-key.ts';
import { createAuthenticate } from '../../src/access/authenticate.ts';
import { publishTinyAdapter } from '../helpers/tiny-adapter.ts';
import { openTinyChat, TINY_BASE_ID } from '../helpers/tiny-base.ts';
import { startApi, type TestApi } from './start-api.ts';

const messages = [{ role: 'user' as const, content: 'What is it?' }];
const greedy = { model: TINY_BASE_ID, messages, temperature: 0, max_tokens: 12 };

/** Publishes an adapter of the tiny base, under an id and a name. */
async function publish(api: TestApi, tenant: string, id: string, name: string, baseModel = TINY_BASE_ID) {
  const own = api.store.all.of(tenant);
  await own.names.set(name, await publishTinyAdapter(own, id, { baseModel }));
}

async function start(t: Test, options: Parameters<typeof startApi>[1] = {}) {
  const chat = await openTinyChat(t, { concurrency: 1 });
  const api = await startApi(t, { ...options, work: false, services: { chat, ...options.services } });
  const baseURL = `${await api.listen()}/v1`;
  const client = (apiKey = 'none') => new OpenAI({ baseURL, apiKey, maxRetries: 0 });
  return { api, chat, client, baseURL };
}

test('one service with a base', async (t) => {
  const { api, chat, client, baseURL } = await start(t);
  const openai = client();

  await t.test('answers, whole and streamed, alone and with an adapter by id and name', async (t) => {
    await publish(api, 'default', 'mine', 'my-name');
    const listed = [];
    for await (const { id } of openai.models.list()) listed.push(id);
    t.strictSame(listed, [TINY_BASE_ID, `${TINY_BASE_ID}+my-name`]);

    const alone = await openai.chat.completions.create(greedy);
    t.match(alone, {
      object: 'chat.completion',
      choices: [{ message: { role: 'assistant', content: String }, finish_reason: 'length' }],
      usage: { completion_tokens: 12 },
      timings: { predicted_n: 12, prompt_ms: Number },
    });
    t.equal(alone._request_id?.startsWith('req_'), true);
    const text = alone.choices[0]!.message.content!;

    const stream = await openai.chat.completions.create({
      ...greedy,
      stream: true,
      stream_options: { include_usage: true },
    });
    let streamed = '';
    let tokens = 0;
    for await (const { choices, usage } of stream) {
      streamed += choices[0]?.delta.content ?? '';
      tokens = usage?.completion_tokens ?? tokens;
    }
    t.equal(streamed, text);
    t.equal(tokens, 12);

    const withId = await openai.chat.completions.create({ ...greedy, model: `${TINY_BASE_ID}+mine` });
    const withName = await openai.chat.completions.create({ ...greedy, model: `${TINY_BASE_ID}+my-name` });
    t.not(withId.choices[0]!.message.content, text, 'the adapter changes the answer');
    t.equal(withName.choices[0]!.message.content, withId.choices[0]!.message.content);
  });

  await t.test('answers held to a list and to a schema', async (t) => {
    const listed = await openai.chat.completions.create({
      ...greedy,
      ...{ structured_outputs: { choice: ['Yes', 'No'] } },
    });
    t.match(listed.choices[0]!.message.content, /^(Yes|No)$/);
    const schema = { type: 'object', properties: { sure: { type: 'boolean' } }, required: ['sure'] };
    const json = await openai.chat.completions.create({
      ...greedy,
      max_tokens: 100,
      response_format: { type: 'json_schema', json_schema: { name: 'x', schema, strict: true } },
    });
    t.type(JSON.parse(json.choices[0]!.message.content!).sure, 'boolean');
    await t.rejects(
      openai.chat.completions.create({
        ...greedy,
        response_format: {
          type: 'json_schema',
          json_schema: { name: 'x', schema: { type: 'string', pattern: '^a' } },
        },
      }),
      { status: 400, code: 'chat-schema-unsupported', message: /\/pattern/ },
    );
  });

  await t.test('failures have OpenAI’s shape', async (t) => {
    await publish(api, 'default', 'other', 'other-name', 'another/base');
    const refused = (changes: object) =>
      openai.chat.completions.create({ ...greedy, ...changes } as typeof greedy);
    await t.rejects(refused({ model: 'nobody' }), {
      status: 404,
      code: 'chat-model-not-found',
      param: 'model',
      type: 'invalid_request_error',
    });
    await t.rejects(refused({ model: `${TINY_BASE_ID}+nobody` }), {
      status: 404,
      code: 'chat-model-not-found',
    });
    await t.rejects(refused({ model: `${TINY_BASE_ID}+other` }), { status: 400, code: 'chat-adapter-unfit' });
    await t.rejects(refused({ temperature: 3 }), {
      status: 400,
      code: 'request-invalid',
      param: 'temperature',
    });
    await t.rejects(refused({ tools: [] }), { status: 400, code: 'field-unknown', param: 'tools' });
    await t.rejects(refused({ structured_outputs: { choice: ['fine', 'half \ud800'] } }), {
      status: 400,
      code: 'request-invalid',
      param: 'structured_outputs/choice/1',
    });
    const twoForms = { response_format: { type: 'json_object' }, structured_outputs: { choice: ['a', 'b'] } };
    await t.rejects(refused(twoForms), {
      status: 400,
      code: 'options-conflict',
      param: 'structured_outputs',
    });
    await t.rejects(refused({ messages: [{ role: 'user', content: 'x'.repeat(900) }] }), {
      status: 400,
      code: 'chat-too-long',
    });
    const nowhere = await fetch(`${baseURL}/nowhere`);
    t.equal(nowhere.status, 404);
    t.match(await nowhere.json(), { error: { code: 'route-not-found', type: 'invalid_request_error' } });
    t.match(await (await fetch(`${baseURL}/models`, { method: 'POST' })).json(), {
      error: { code: 'method-not-allowed' },
    });
  });

  await t.test(
    'one question at a time: 429 beyond, and a client that leaves gives its place back',
    async (t) => {
      const stream = await openai.chat.completions.create({ ...greedy, max_tokens: 440, stream: true });
      for await (const _ of stream) break;
      const again = await openai.chat.completions
        .create({ ...greedy, max_tokens: 440, stream: true })
        .catch(async (error) => {
          t.match(error, { status: 429, code: 'chat-busy', type: 'rate_limit_error' });
          t.equal(error.headers.get('retry-after'), '3');
          return undefined;
        });
      if (again) again.controller.abort();
      for (;;) {
        const answer = await openai.chat.completions.create(greedy).catch((error) => error);
        if (answer.status === 429) continue;
        t.match(answer, { object: 'chat.completion' });
        break;
      }
    },
  );

  await t.test(
    'a process that is killed in the middle of an answer: an error event, and the next one works',
    async (t) => {
      const stream = await openai.chat.completions.create({ ...greedy, max_tokens: 440, stream: true });
      await t.rejects(
        (async () => {
          for await (const _ of stream) if (chat.pid) process.kill(chat.pid, 'SIGKILL');
        })(),
        { code: 'chat-lost', type: 'server_error' },
      );
      t.match(await openai.chat.completions.create(greedy), { object: 'chat.completion' });
    },
  );
});

test('an adapter of another tenant does not exist, and keys and scopes hold', async (t) => {
  const keys = { a: newApiKey(), b: newApiKey(), reader: newApiKey() };
  const entry = (name: keyof typeof keys, tenant: string, scopes: ('generate' | 'read')[]) =>
    [keys[name], { name, tenant, scopes, sha256: digestOfKey(keys[name]), createdAt: '2026-01-01' }] as const;
  const ring = new Map([
    entry('a', 'team-a', ['generate', 'read']),
    entry('b', 'team-b', ['generate', 'read']),
    entry('reader', 'team-a', ['read']),
  ]);
  const authenticate = createAuthenticate({
    keys: { guarded: true, find: (key) => ring.get(key) },
    limits: {},
  });
  const { api, client } = await start(t, { services: { authenticate } });
  await publish(api, 'team-a', 'mine', 'my-name');
  const ask = (key: string, model: string) => client(key).chat.completions.create({ ...greedy, model });
  t.ok(await ask(keys.a, `${TINY_BASE_ID}+my-name`));
  const [named, unknown] = await Promise.all(
    ['my-name', 'nobodys'].map((name) =>
      ask(keys.b, `${TINY_BASE_ID}+${name}`).catch(({ status, error }) => ({ status, error })),
    ),
  );
  t.equal((named as { status: number }).status, 404);
  t.strictSame(named, unknown);
  t.equal((await client(keys.b).models.list()).data.length, 1);
  await t.rejects(ask('ld_nothing', TINY_BASE_ID), {
    status: 401,
    code: 'key-invalid',
    type: 'authentication_error',
  });
  await t.rejects(ask(keys.reader, TINY_BASE_ID), {
    status: 403,
    code: 'scope-missing',
    type: 'permission_error',
  });
});

test('without a base nothing can be asked, and the answer says how to get one', async (t) => {
  const api = await startApi(t, { work: false });
  const openai = new OpenAI({ baseURL: `${await api.listen()}/v1`, apiKey: 'none', maxRetries: 0 });
  t.strictSame((await openai.models.list()).data, []);
  await t.rejects(openai.chat.completions.create(greedy), {
    status: 404,
    code: 'chat-unavailable',
    message: /bases pull/,
  });
});
