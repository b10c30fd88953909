import { readdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { pino } from 'pino';
import { test } from 'tap';
import { writeGguf } from '../../src/adapter/gguf.ts';
import { sha256 } from '../../src/base/digest.ts';
import type { ChatAdapter } from '../../src/chat/adapter-files.ts';
import { listBases } from '../../src/chat/bases.ts';
import type { Chat } from '../../src/chat/chat.ts';
import { supportedSchema } from '../../src/chat/grammar.ts';
import type { AnswerFacts, ChatQuestion } from '../../src/chat/question.ts';
import { loraTensors } from '../../src/lora/tensors.ts';
import { createMetrics } from '../../src/observability/metrics.ts';
import { openTinyChat, TINY_BASE_ID } from '../helpers/tiny-base.ts';
import { TINY_BASE, TINY_LAYOUT, tinyAdapter } from '../helpers/tiny-llama.ts';

const QUESTION: ChatQuestion = {
  messages: [{ role: 'user', content: 'What is it?' }],
  sampling: { temperature: 0, topP: 1, seed: 1, frequencyPenalty: 0, presencePenalty: 0 },
  maxTokens: 12,
  stop: [],
};

async function adapterOf(seed: number): Promise<ChatAdapter> {
  const pieces: Uint8Array[] = [];
  const content = writeGguf(loraTensors(TINY_LAYOUT), tinyAdapter(seed), {
    architecture: 'llama',
    heads: TINY_BASE,
    alpha: TINY_LAYOUT.alpha,
    dtype: 'f32',
  });
  for await (const piece of content) pieces.push(piece);
  const bytes = Buffer.concat(pieces);
  return {
    key: sha256(bytes),
    read: async () =>
      (async function* () {
        yield bytes;
      })(),
  };
}

async function ask(chat: Chat, changes: Partial<ChatQuestion> = {}, adapter?: ChatAdapter) {
  const [base] = await chat.bases();
  let text = '';
  let facts: AnswerFacts | undefined;
  const parts = chat.ask(
    base!,
    { ...QUESTION, ...changes },
    { tenant: 'a', adapter, signal: new AbortController().signal },
  );
  for await (const part of parts) {
    if ('text' in part) text += part.text;
    else facts = part.facts;
  }
  return { text, facts: facts! };
}

/** Stops the chat process, so that it is still at its answer however busy the machine is; the returned function lets it go on. */
function hold(chat: Chat) {
  const { pid } = chat;
  process.kill(pid!, 'SIGSTOP');
  return () => process.kill(pid!, 'SIGCONT');
}

test('a file is the base that its sidecar names, or its name', async (t) => {
  const directory = t.testdir({
    'SmolLM2-135M-Instruct.Q4_1.gguf': 'GGUF',
    'qwen2.5-0.5b-instruct-q8_0.gguf': 'GGUF',
    'other.gguf': 'GGUF',
    'odd.gguf': 'GGUF',
    'odd.gguf.json': '{"base": "owner/odd"}',
    'broken.gguf': 'GGUF',
    'broken.gguf.json': '{"base": 7}',
    'notes.txt': '',
  });
  const known = ['HuggingFaceTB/SmolLM2-135M-Instruct', 'Qwen/Qwen2.5-0.5B-Instruct'];
  t.strictSame(
    (await listBases(directory, known)).map(({ id, file }) => [file, id]),
    [
      ['SmolLM2-135M-Instruct.Q4_1.gguf', 'HuggingFaceTB/SmolLM2-135M-Instruct'],
      ['broken.gguf', 'broken'],
      ['odd.gguf', 'owner/odd'],
      ['other.gguf', 'other'],
      ['qwen2.5-0.5b-instruct-q8_0.gguf', 'Qwen/Qwen2.5-0.5B-Instruct'],
    ],
  );
  t.strictSame(await listBases(join(directory, 'nowhere'), known), []);
});

test('a base answers alone and with adapters, by one process that is started when it is asked', async (t) => {
  const kept = async () => (await readdir(tmpdir())).filter((name) => name.startsWith('loradrop-chat-'));
  const before = new Set(await kept());
  const chat = await openTinyChat(t);
  t.equal(chat.pid, undefined);
  t.match(await chat.bases(), [{ id: TINY_BASE_ID }]);
  const alone = await ask(chat);
  t.match(alone.facts, { finish: 'length', completionTokens: 12 });
  const { pid } = chat;
  const [first, second] = [await adapterOf(5), await adapterOf(6)];
  const withFirst = await ask(chat, {}, first);
  const withSecond = await ask(chat, {}, second);
  t.not(withFirst.text, alone.text);
  t.not(withSecond.text, withFirst.text);
  t.equal((await ask(chat)).text, alone.text, 'the base is as it was');
  t.equal((await ask(chat, {}, first)).text, withFirst.text);
  t.equal(chat.pid, pid, 'the base was not loaded again');
  await chat.close();
  const left = (await kept()).filter((name) => !before.has(name));
  t.strictSame(left, [], 'the files of adapters are gone');
});

test('answers keep to what they are held to', async (t) => {
  const chat = await openTinyChat(t);
  const choices = ['Käse "1"\n', 'a\bb\f\u2028\\', 'no'];
  const sampling = { ...QUESTION.sampling, temperature: 1 };
  const seen = new Set<string>();
  for (let seed = 0; seed < 16; seed++) {
    const { text } = await ask(chat, {
      form: { kind: 'choice', choices },
      maxTokens: 40,
      sampling: { ...sampling, seed },
    });
    seen.add(text);
  }
  t.ok(
    [...seen].every((text) => choices.includes(text)),
    [...seen].join(' | '),
  );
  t.ok(seen.size > 1, 'more than one of them');
  const schema = {
    type: 'object',
    properties: { ok: { type: 'boolean' }, kind: { enum: ['a', 'b'] } },
    required: ['ok', 'kind'],
  };
  const { text, facts } = await ask(chat, { form: { kind: 'schema', schema }, maxTokens: 200, sampling });
  const value = JSON.parse(text);
  t.equal(typeof value.ok, 'boolean');
  t.ok(['a', 'b'].includes(value.kind));
  t.equal(facts.finish, 'stop', 'it ends where the value does');
});

test('stop texts end an answer and are no part of it', async (t) => {
  const chat = await openTinyChat(t);
  const { text } = await ask(chat, { maxTokens: 30 });
  const stop = text.slice(6, 8);
  const cut = await ask(chat, { maxTokens: 30, stop: ['never there', stop] });
  t.equal(cut.text, text.slice(0, text.indexOf(stop)));
  t.equal(cut.facts.finish, 'stop');
});

test('what cannot be answered is refused, and the process goes on', async (t) => {
  const chat = await openTinyChat(t);
  await t.rejects(ask(chat, { messages: [{ role: 'user', content: 'x'.repeat(600) }] }), {
    code: 'chat-too-long',
  });
  const bytes = Buffer.from('GGUF and nothing else');
  const broken = {
    key: sha256(bytes),
    read: async () =>
      (async function* () {
        yield bytes;
      })(),
  };
  await t.rejects(ask(chat, {}, broken), { code: 'base-adapter-refused' });
  t.match(await ask(chat), { facts: { finish: 'length' } });
});

test('a process that is killed in the middle of an answer ends that one alone', async (t) => {
  const chat = await openTinyChat(t);
  const [base] = await chat.bases();
  const { signal } = new AbortController();
  const parts = chat.ask(base!, { ...QUESTION, maxTokens: 400 }, { tenant: 'a', signal });
  t.match((await parts.next()).value, { text: String });
  const { pid } = chat;
  process.kill(pid!, 'SIGKILL');
  const rest = async () => {
    for await (const _ of parts);
  };
  await t.rejects(rest(), { code: 'chat-lost', retryable: true });
  t.match(await ask(chat), { facts: { finish: 'length' } });
  t.not(chat.pid, pid);
});

test('more questions than are answered at a time are refused, until one ends or is taken back', async (t) => {
  const chat = await openTinyChat(t, { concurrency: 1 });
  const [base] = await chat.bases();
  const stop = new AbortController();
  const first = chat.ask(base!, { ...QUESTION, maxTokens: 400 }, { tenant: 'a', signal: stop.signal });
  await first.next();
  const goOn = hold(chat);
  await t.rejects(ask(chat), { code: 'chat-busy', retryAfterSeconds: 3 });
  goOn();
  stop.abort();
  await t.rejects(
    async () => {
      for await (const _ of first);
    },
    { name: 'AbortError' },
  );
  t.match(await ask(chat), { facts: { finish: 'length' } });
  const left = chat.ask(base!, QUESTION, { tenant: 'a', signal: new AbortController().signal });
  await left.return();
  t.match(await ask(chat), { facts: { finish: 'length' } }, 'one that is never read gives its place back');
});

test('a process that does not let go of a question is ended, and its place is free', async (t) => {
  const chat = await openTinyChat(t, { concurrency: 1 });
  const [base] = await chat.bases();
  const stop = new AbortController();
  const parts = chat.ask(base!, { ...QUESTION, maxTokens: 400 }, { tenant: 'a', signal: stop.signal });
  await parts.next();
  const { pid } = chat;
  process.kill(pid!, 'SIGSTOP');
  stop.abort();
  await t.rejects(ask(chat), { code: 'chat-busy' }, 'the place is held until the process is done');
  await t.rejects(
    async () => {
      for await (const _ of parts);
    },
    { name: 'AbortError' },
  );
  t.match(await ask(chat), { facts: { finish: 'length' } });
  t.not(chat.pid, pid);
});

test('a reader that leaves before it reads, or while the base is loaded, gives its place back', async (t) => {
  const chat = await openTinyChat(t, { concurrency: 1 });
  const [base] = await chat.bases();
  const early = new AbortController();
  chat.ask(base!, QUESTION, { tenant: 'a', signal: early.signal });
  early.abort();
  const loading = new AbortController();
  await new Promise((resolve) => setImmediate(resolve));
  const parts = chat.ask(base!, QUESTION, { tenant: 'a', signal: loading.signal });
  const first = parts.next();
  loading.abort();
  await t.rejects(first, { name: 'AbortError' });
  t.match(await ask(chat), { facts: { finish: 'length' } });
});

test('adapters beyond those that a process takes on start it anew', async (t) => {
  const chat = await openTinyChat(t);
  await ask(chat, { maxTokens: 1 }, await adapterOf(0));
  const { pid } = chat;
  for (let seed = 1; seed <= 32; seed++) await ask(chat, { maxTokens: 1 }, await adapterOf(seed));
  t.not(chat.pid, pid);
});

test('the process ends when nobody asks, and a base that is no model is told of', async (t) => {
  const chat = await openTinyChat(t, { idleMs: 1 });
  await ask(chat);
  while (chat.pid !== undefined) await delay(10);
  const [base] = await chat.bases();
  await writeFile(base!.path, 'GGUFGGUFGGUFGGUF');
  await t.rejects(ask(chat), { code: 'base-model-unusable' });
});

test('a grammar that llama.cpp refuses is a refusal of the question, and its text is not logged', async (t) => {
  let logged = '';
  const sink = new Writable({
    write(chunk, _encoding, done) {
      logged += String(chunk);
      done();
    },
  });
  const chat = await openTinyChat(t, { logger: pino({ level: 'trace' }, sink) });
  const schemas = [
    { const: 'PRIVATE\0' },
    { type: 'object', properties: { PRIVATE: { type: 'string', minLength: 2500 } } },
    { $ref: '#/$defs/PRIVATE', $defs: { PRIVATE: { $ref: '#/$defs/PRIVATE' } } },
    { enum: [{ PRIVATE: 1 }] },
  ];
  for (const schema of schemas) {
    await t.rejects(ask(chat, { form: { kind: 'schema', schema } }), {
      code: 'chat-schema-unsupported',
      message: /^llama\.cpp refuses its grammar/,
    });
  }
  t.match(await ask(chat), { facts: { finish: 'length' } });
  await chat.close();
  t.match(logged, /chat process started/);
  t.notMatch(logged, /PRIVATE|root ::=/);
});

test('schemas that would not be kept to are refused by name', (t) => {
  const refused: readonly (readonly [object, RegExp])[] = [
    [{ type: 'text' }, /^At \/type: there is no such type/],
    [{ type: 'string', minLength: -1 }, /^At \/minLength: it is no whole number/],
    [{ items: { $ref: '#/$defs/none' } }, /^At \/items\/\$ref: it leads to no definition/],
  ];
  for (const [schema, message] of refused) {
    t.throws(() => supportedSchema(schema), { code: 'chat-schema-unsupported', message });
  }
  t.strictSame(
    supportedSchema({ $ref: '#/definitions/a', definitions: { a: { type: ['null', 'string'] } } }),
    {
      $ref: '#/$defs/a',
      $defs: { a: { type: ['null', 'string'] } },
    },
  );
  t.end();
});

test('roles that a template refuses are the client’s to change; a template that takes nothing is not', async (t) => {
  const raise = "{{ raise_exception('PRIVATE') }}";
  const picky = await openTinyChat(t, {
    template: `{% if messages[0]['role'] == 'system' %}${raise}{% endif %}{{ messages[0]['content'] }}`,
  });
  const system = { role: 'system' as const, content: 'Be kind.' };
  await t.rejects(ask(picky, { messages: [system, ...QUESTION.messages] }), {
    code: 'chat-messages-refused',
    message: 'Its chat template refuses messages of these roles in this order: system, user.',
  });
  t.match(await ask(picky), { facts: { finish: 'length' } });
  await picky.close();
});

test('a template that takes no question at all makes the base unusable', async (t) => {
  const chat = await openTinyChat(t, { template: "{{ raise_exception('no') }}" });
  await t.rejects(ask(chat), { code: 'base-model-unusable' });
});

test('one tenant does not take the places of others', async (t) => {
  const chat = await openTinyChat(t, { concurrency: 2, tenantConcurrency: () => 1 });
  const [base] = await chat.bases();
  const start = (tenant: string) =>
    chat.ask(base!, { ...QUESTION, maxTokens: 400 }, { tenant, signal: new AbortController().signal });
  const first = start('a');
  await first.next();
  const goOn = hold(chat);
  t.throws(() => start('a'), { code: 'chat-tenant-busy', retryAfterSeconds: 3 });
  const second = start('b');
  t.throws(() => start('c'), { code: 'chat-busy' }, 'all places are taken');
  goOn();
  await first.return();
  const third = start('a');
  await Promise.all([second.return(), third.return()]);
  t.match(await ask(chat), { facts: { finish: 'length' } });
});

test('a reader that does not read holds no place longer than the process works', async (t) => {
  const chat = await openTinyChat(t, { concurrency: 1 });
  const [base] = await chat.bases();
  const { signal } = new AbortController();
  const unread = chat.ask(base!, { ...QUESTION, maxTokens: 60 }, { tenant: 'a', signal });
  await unread.next();
  for (;;) {
    const answer = await ask(chat).catch((error) => error);
    if (answer.code !== 'chat-busy') {
      t.match(answer, { facts: { finish: 'length' } });
      break;
    }
    await delay(10);
  }
  let last: unknown;
  for await (const part of unread) last = part;
  t.match(last, { facts: { completionTokens: 60 } }, 'it is all there for a slow one');
});

test('what is asked is counted', async (t) => {
  const metrics = createMetrics();
  const chat = await openTinyChat(t, { concurrency: 1, metrics });
  const [base] = await chat.bases();
  await ask(chat);
  await t.rejects(ask(chat, { messages: [{ role: 'user', content: 'x'.repeat(600) }] }));
  const stop = new AbortController();
  const left = chat.ask(base!, { ...QUESTION, maxTokens: 400 }, { tenant: 'a', signal: stop.signal });
  await left.next();
  const goOn = hold(chat);
  await t.rejects(ask(chat), { code: 'chat-busy' });
  t.match(await metrics.render(), /^loradrop_chat_running 1$/m);
  goOn();
  await left.return();
  const text = await metrics.render();
  for (const line of [
    'loradrop_chat_running 0',
    'loradrop_chat_questions_total{outcome="answered",code=""} 1',
    'loradrop_chat_questions_total{outcome="failed",code="chat-too-long"} 1',
    'loradrop_chat_questions_total{outcome="left",code=""} 1',
    'loradrop_chat_questions_total{outcome="refused",code="chat-busy"} 1',
    'loradrop_chat_first_token_seconds_count 2',
    'loradrop_chat_tokens_total{of="answer"} 12',
  ]) {
    t.ok(text.includes(`${line}\n`), line);
  }
});
