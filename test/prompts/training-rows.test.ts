import { test } from 'tap';
import { readUnpacked } from '../../src/prompts/read-unpacked.ts';
import { trainingPrompts } from '../../src/prompts/training-rows.ts';

const rowsOf = (...values: unknown[]) => ({
  rows: values.map((value, index) => ({ value, number: index + 1 })),
  unit: 'Line' as const,
});
const user = (content: unknown) => ({ role: 'user', content });
const answer = (content: unknown, more: object = {}) => ({ role: 'assistant', content, ...more });
const read = (...values: unknown[]) => trainingPrompts(rowsOf(...values), 'user');

test('each learned answer gives what was said before it', (t) => {
  const { prompts, rowOf, counts } = read(
    {
      messages: [user('a'), answer('x', { weight: 0 }), user('b'), user('c'), answer('y'), user('left over')],
    },
    { messages: [{ role: 'system', content: 's' }, user('d'), answer('z', { weight: 1 })] },
    { messages: [user('no answer at all'), user('twice')] },
    {
      messages: [user('e'), answer(null, { tool_calls: [] }), { role: 'tool', content: 't' }, answer('w')],
      tools: [],
    },
    { messages: [user('f'), answer('v', { weight: null })] },
    { prompt: 'g', completion: 'u' },
  );
  t.strictSame(prompts, ['b\nc', 'd', 'no answer at all\ntwice', 'e', 'f', 'g']);
  t.strictSame(rowOf, [0, 1, 2, 3, 4, 5]);
  t.strictSame(counts, {
    promptsFrom: 'user',
    rows: 6,
    answers: 6,
    unweighted: 1,
    systems: 1,
    tools: 1,
    withoutPrompt: 0,
  });
  t.end();
});

test('content in parts is its text, and text that looks like a dialogue is text', (t) => {
  const parts = [
    { type: 'text', text: 'one' },
    { type: 'image_url', image_url: {} },
    { type: 'text', text: 'two' },
  ];
  const { prompts, media } = read(
    { messages: [user(parts), answer('x')] },
    { messages: [user('[{"role": 1}]'), answer('y')] },
  );
  t.strictSame(prompts, ['one\ntwo', '[{"role": 1}]']);
  t.equal(media, 1);
  t.end();
});

test('a model that takes a description gets the system text', (t) => {
  const system = (content: string) => ({ role: 'system', content });
  const described = {
    messages: [system('Be short.'), { role: 'developer', content: 'Be kind.' }, user('a'), answer('x')],
  };
  const plain = { messages: [user('b'), answer('y')] };
  const { prompts, rowOf, counts } = trainingPrompts(rowsOf(plain, described, described), 'system');
  t.strictSame(prompts, ['Be short.\nBe kind.']);
  t.strictSame(rowOf, [1]);
  t.match(counts, { promptsFrom: 'system', systems: 2, answers: 3 });
  t.throws(() => trainingPrompts(rowsOf(plain), 'system'), {
    code: 'prompts-invalid',
    message: /takes a description of the task, and no row has one/,
  });
  const other = { messages: [system('Be long.'), user('c'), answer('z')] };
  t.throws(() => trainingPrompts(rowsOf(described, other), 'system'), {
    code: 'prompts-invalid',
    message: /^Line 2 has another system text/,
  });
  t.end();
});

test('what is no row is told by its line', (t) => {
  const refused: [unknown, RegExp][] = [
    [5, /^Line 2 is a number; a row is/],
    [{}, /^Line 2 has no list of `messages`/],
    [{ messages: 'text' }, /^Line 2 has no list of `messages`/],
    [{ messages: [] }, /^Line 2 has an empty list/],
    [{ messages: [5] }, /^Line 2 has a number as message 1/],
    [{ messages: [{ content: 'x' }] }, /^Line 2 has no known `role` in message 1/],
    [{ messages: [answer('x')] }, /^Line 2 has no message of the role `user`/],
    [{ messages: [user(null), answer('x')] }, /^Line 2 cannot be used: the user’s text in message 1 is null/],
    [{ messages: [user([{ type: 'image_url' }]), answer('x')] }, /images alone/],
    [{ messages: [user('q'), answer('x', { weight: 0.5 })] }, /neither 0 nor 1/],
    [{ prompt: 5, completion: 'x' }, /`prompt` is a number/],
    [{ messages: [user('q')], preferred_output: [] }, /DPO/],
    [{ messages: [user('q')], reference_answer: 'x' }, /reinforcement/],
  ];
  for (const [value, message] of refused) {
    t.throws(() => read({ messages: [user('q'), answer('a')] }, value), { code: 'prompts-invalid', message });
  }
  t.end();
});

test('a prompt that cannot be used is told by the line of its row', async (t) => {
  const limits = { maxPrompts: 10, maxPromptChars: 5, maxBytes: 1000 };
  const text = [
    { messages: [user('one'), answer('x'), user('two'), answer('y')] },
    { messages: [user('too long'), answer('z')] },
  ].map((value) => JSON.stringify(value));
  await t.rejects(
    readUnpacked(Buffer.from(text.join('\n\n')), { format: 'jsonl', limits, choice: { training: 'user' } }),
    { code: 'prompt-too-long', fields: [{ pointer: '/2', message: /^Line 3 has more than 5/ }] },
  );
});
