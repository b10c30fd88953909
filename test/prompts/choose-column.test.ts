import { test } from 'tap';
import { failureOf, lines, read } from './reading.ts';

const jsonl = (...rows: readonly unknown[]) => read(lines(...rows), 'jsonl');
const promptsOf = async (...rows: readonly unknown[]) => (await jsonl(...rows)).prompts;
const turn = (from: string, value: unknown) => ({ from, value });
const message = (role: string, content: unknown) => ({ role, content });

test('rows of public data sets, each with its column', async (t) => {
  const dialogue = [
    message('system', 's'),
    message('assistant', 'hello'),
    message('user', 'q'),
    message('user', 'r'),
  ];
  const shareGpt = [turn('system', 's'), turn('gpt', 'hello'), turn('human', 'q'), turn('gpt', 'a')];
  const rows: Record<string, [row: unknown, prompt: string, field: string | undefined]> = {
    'a string': ['q', 'q', undefined],
    prompt: [{ prompt: 'q', answer: 'x' }, 'q', 'prompt'],
    'a conversational prompt (TRL)': [{ prompt: dialogue, completion: [] }, 'q', 'prompt'],
    'preferences (DPO)': [{ prompt: 'q', chosen: 'a', rejected: 'b' }, 'q', 'prompt'],
    ShareGPT: [{ conversations: shareGpt }, 'q', 'conversations'],
    'ShareGPT that begins with the question': [{ conversations: shareGpt.slice(2) }, 'q', 'conversations'],
    'ShareGPT with roles': [{ conversations: dialogue }, 'q', 'conversations'],
    'ShareGPT in capitals': [
      { conversations: [turn('System', 's'), turn('Human', 'q')] },
      'q',
      'conversations',
    ],
    'turns without roles': [{ conversations: [{ value: 'q' }, { value: 'a' }] }, 'q', 'conversations'],
    messages: [{ messages: dialogue }, 'q', 'messages'],
    'OpenAI fine-tuning with tools': [{ messages: dialogue, tools: [{}] }, 'q', 'messages'],
    'OpenAI batch': [
      {
        custom_id: '1',
        method: 'POST',
        url: '/v1/chat/completions',
        body: { model: 'm', messages: dialogue },
      },
      'q',
      '/body/messages',
    ],
    Alpaca: [{ instruction: 'i', input: 'n', output: 'o' }, 'i\nn', 'instruction + input'],
    'Alpaca without input': [{ instruction: 'i', input: '', output: 'o' }, 'i', 'instruction'],
    'Alpaca with null': [{ instruction: 'i', input: null, output: 'o' }, 'i', 'instruction'],
    'Alpaca with its text': [
      {
        instruction: 'i',
        input: '',
        output: 'o',
        text: 'Below is an instruction.\n\n### Instruction:\ni\n\n### Response:\no',
      },
      'i',
      'instruction',
    ],
    Dolly: [{ instruction: 'i', context: 'c', response: 'r' }, 'i\nc', 'instruction + context'],
    'Dolly without context': [{ instruction: 'i', context: '', response: 'r' }, 'i', 'instruction'],
    GSM8K: [{ question: 'q', answer: 'a' }, 'q', 'question'],
    OpenOrca: [{ id: '1', system_prompt: 's', question: 'q', response: 'r' }, 'q', 'question'],
    query: [{ query: 'q', response: 'r' }, 'q', 'query'],
    text: [{ text: 'q', label: 1 }, 'q', 'text'],
    'input and output': [{ input: 'q', output: 'o' }, 'q', 'input'],
    'FLAN inputs': [{ inputs: 'q', targets: 'a' }, 'q', 'inputs'],
    problem: [{ problem: 'q', solution: 's' }, 'q', 'problem'],
    'NuminaMath, which has it twice': [
      { problem: 'q', solution: 'a', messages: [message('user', 'q'), message('assistant', 'a')] },
      'q',
      'messages',
    ],
  };
  for (const [name, [row, prompt, field]] of Object.entries(rows)) {
    const reading = await jsonl(row);
    t.strictSame(reading.prompts, [prompt], name);
    t.equal(reading.source.field, field, name);
    t.strictSame(reading.warnings, [], name);
  }
});

test('six dialogues under one system text are six prompts', async (t) => {
  const questions = ['Is a pear a fruit?', 'Why is ice cold?', 'What is rust?', 'Who?', 'When?', 'Where?'];
  const rows = questions.map((question) => ({
    conversations: [
      turn('system', 'You are a helpful assistant.'),
      turn('human', question),
      turn('gpt', 'Yes.'),
    ],
  }));
  const { prompts, source } = await jsonl(...rows);
  t.strictSame(prompts, questions);
  t.strictSame(source, { format: 'jsonl', field: 'conversations', rows: 6, distinct: 6 });
});

test('content in parts is its text, and images are told', async (t) => {
  const text = { type: 'text', text: 'What is this?' };
  const image = { type: 'image_url', image_url: { url: 'data:,x' } };
  const asked = (...content: unknown[]) => ({ messages: [message('user', content)] });
  const { prompts, warnings } = await jsonl(
    asked(image, text),
    asked(text, { type: 'text', text: 'And that?' }),
  );
  t.strictSame(prompts, ['What is this?', 'What is this?\nAnd that?']);
  t.match(warnings, [/1 of 2 prompts have images/]);
  t.strictSame(await promptsOf({ prompt: [{ type: 'input_text', text: 'q' }] }), ['q']);
  for (const [row, expected] of [
    [asked(image), /images alone, without text/],
    [asked({ type: 'input_audio' }), /parts other than text alone/],
    [asked({ type: 'text', text: 3 }), /a text part that has a number/],
    [asked('secret'), /a list of something else than text/],
    [{ prompt: ['secret', 'b'] }, /a list of something else than text/],
    [{ messages: [] }, /an empty list/],
    [{ messages: 'secret' }, /text, not a list of turns/],
    [{ messages: [message('user', null)] }, /whose first user turn has nothing for its text/],
    [{ messages: [message('system', 'secret')] }, /a dialogue without a turn of `user` or `human`/],
  ] as const) {
    const failure = await failureOf(jsonl(row));
    t.equal(failure.code, 'prompts-invalid');
    t.match(failure.message, expected);
    t.notMatch(failure.message, /secret/);
  }
});

test('the place of the prompt is one for all rows (spec §1.1)', async (t) => {
  const dialogue = (value: string) => ({ conversations: [turn('human', value)] });
  t.strictSame(
    await promptsOf({ prompt: 'p', ...dialogue('c') }, dialogue('d')),
    ['c', 'd'],
    'a row without `prompt` moves every row to its dialogue',
  );
  t.strictSame(await promptsOf({ prompt: 'p', question: 'q' }), ['p'], '`prompt` leaves no question');
  t.strictSame(
    await promptsOf({
      conversations: [turn('human', 'c')],
      messages: [message('user', 'm')],
      instruction: 'i',
    }),
    ['c'],
  );
  const failure = await failureOf(jsonl('a', dialogue('b')));
  t.equal(failure.code, 'prompts-invalid');
  t.strictSame(
    failure.fields.map(({ pointer }) => pointer),
    ['/1'],
  );
  t.match(
    failure.message,
    /Line 2 has no `prompt`, where the rows before it have theirs. Its columns: `conversations`/,
  );
});

test('only absent, null and empty text mean no input', async (t) => {
  for (const input of [12, 0, false, true, [], ['a'], {}]) {
    const failure = await failureOf(jsonl({ instruction: 'ok', input: 'a' }, { instruction: 'i', input }));
    t.equal(failure.code, 'prompts-invalid', JSON.stringify(input));
    t.match(
      failure.message,
      /Line 2 cannot be used: `instruction` is followed by `input`, which is (a|an) \w+, not text/,
    );
  }
  t.match((await failureOf(jsonl({ instruction: 'i', context: 3 }))).message, /`context`, which is a number/);
  t.match(
    (await failureOf(jsonl({ instruction: 'i', input: 'a', context: 'b' }))).message,
    /both `input` and `context`/,
  );
  t.match((await failureOf(jsonl({ instruction: 3 }))).message, /`instruction` is a number, not text/);
});

test('between two columns that differ nothing is guessed', async (t) => {
  for (const [row, names] of [
    [{ question: 'a', query: 'b' }, '`question` and `query`'],
    [{ text: 'a', problem: 'b', inputs: 'c' }, '`text` and `inputs` and `problem`'],
    [{ instruction: 'Answer.', question: 'b' }, '`instruction` and `question`'],
    [{ messages: [message('user', 'a')], question: 'b' }, '`messages` and `question`'],
  ] as const) {
    const failure = await failureOf(jsonl(row));
    t.equal(failure.code, 'prompt-field-ambiguous');
    t.ok(failure.message.includes(names), failure.message);
    t.match(failure.message, /choose with promptField or promptTemplate/);
  }
  t.strictSame(
    await promptsOf({ question: 'a', text: 'a' }, { question: 'b', text: 'b' }),
    ['a', 'b'],
    'equal ones are one',
  );
  t.strictSame(
    await promptsOf({ question: 'a', query: 'b' }, { question: 'c' }),
    ['a', 'c'],
    'one that every row has',
  );
  t.match((await jsonl({ question: 'q', choices: ['a', 'b'], answer: 1 })).warnings, [
    /The prompts are `question` alone; `choices` can be added with promptTemplate/,
  ]);
});

test('a row without a known column is told what it has and what is taken', async (t) => {
  const failure = await failureOf(jsonl({ utterance: 'secret', label: 1 }));
  t.match(
    failure.message,
    /^Line 1 has no column that is known to hold prompts. Its columns: `utterance`, `label`\. Known are `prompt`, /,
  );
  t.notMatch(failure.message, /before it|secret/);
  t.match(failure.message, /promptField/);
  const wide = Object.fromEntries(Array.from({ length: 100 }, (_, index) => [`column${index}`, '']));
  const names = (await failureOf(jsonl({ [`${'secret'.repeat(9)}`]: '', 'What is the secret?': 1, ...wide })))
    .message;
  t.match(names, /`column11` and 90 more\./, 'names are bounded in number');
  t.notMatch(names, /secret/, 'and in length and signs');
  t.match((await failureOf(read('[["a"]]', 'json'))).message, /Item 1 is neither a string nor an object/);
  t.match((await failureOf(jsonl({}))).message, /Its columns: none/);
});

test('a column with whole dialogues is refused, since answers must not enter a condition', async (t) => {
  for (const text of [
    '### Human: q### Assistant: a',
    'Below is an instruction.\n\n### Instruction:\nq\n\n### Response:\na',
    '<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\na<|im_end|>',
    '<|start_header_id|>user<|end_header_id|>\n\nq<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\na',
    '<s>[INST] q [/INST] a</s>',
    '<start_of_turn>user\nq<end_of_turn>\n<start_of_turn>model\na',
    '<|user|>\nq\n<|assistant|>\na',
    '<｜User｜>q<｜Assistant｜>a',
    'A chat. USER: q ASSISTANT: a</s>',
    '\n\nHuman: q\n\nAssistant: a',
    "[{'from': 'human', 'value': 'q'}, {'from': 'gpt', 'value': 'a'}]",
  ]) {
    for (const reading of [
      jsonl({ text: 'q' }, { text }),
      read(lines({ text }), 'jsonl', { choice: { field: 'text' } }),
    ]) {
      const failure = await failureOf(reading);
      t.equal(failure.code, 'prompts-hold-answers', text);
      t.match(
        failure.message,
        /`text` has an answer in 1 of \d rows, and answers must not enter a condition/,
      );
    }
  }
  const open = 'Below is an instruction.\n\n### Instruction:\nq\n\n### Response:\n';
  t.strictSame(await promptsOf({ text: open }), [open], 'a place for an answer is none');
  const prose = 'Write to the assistant: is [INST] a marker? My assistant says no.';
  t.strictSame(await promptsOf({ text: prose }), [prose]);
  const { prompts } = await read(lines({ text: 'Assistant: a' }), 'jsonl', {
    choice: { template: '{text}' },
  });
  t.strictSame(prompts, ['Assistant: a'], 'the way round it');
});

test('markers of answers are found in linear time', (t) => {
  const started = performance.now();
  const texts = ['#', ' ', '\n', '# ', '\n ', '<', '<|', '[', 'ASSISTANT', "'from':"].map((part) =>
    part.repeat(1_000_000 / part.length),
  );
  return jsonlOf(texts).then(() => {
    t.ok(performance.now() - started < 5000);
  });
});

async function jsonlOf(texts: readonly string[]): Promise<void> {
  const limits = { maxPromptChars: 1 << 20, maxBytes: 1 << 26 };
  await read(lines(...texts.map((text) => ({ text: `a${text}` }))), 'jsonl', limits);
}

test('a column can be chosen, by name or by pointer', async (t) => {
  const rows = lines(
    {
      id: 1,
      utterance: 'a',
      'a/b': 'slash',
      '': 'none',
      deep: { list: [{ text: 'x' }] },
      chat: [message('user', 'm')],
    },
    {
      id: 2,
      utterance: 'b',
      'a/b': 'slash',
      '': 'none',
      deep: { list: [{ text: 'y' }] },
      chat: [message('user', 'n')],
    },
  );
  const by = async (field: string) => (await read(rows, 'jsonl', { choice: { field } })).prompts;
  t.strictSame(await by('utterance'), ['a', 'b']);
  t.strictSame(await by('a/b'), ['slash', 'slash']);
  t.strictSame(await by('/a~1b'), ['slash', 'slash']);
  t.strictSame(await by('/deep/list/0/text'), ['x', 'y']);
  t.strictSame(await by('chat'), ['m', 'n'], 'a dialogue is its user’s turn');
  t.equal((await read(rows, 'jsonl', { choice: { field: 'utterance' } })).source.field, 'utterance');
  t.strictSame((await read('utterance,text\na,b\n', 'csv', { choice: { field: 'utterance' } })).prompts, [
    'a',
  ]);
  for (const [field, code, expected] of [
    ['nothing', 'prompts-invalid', /Line 1 has no `nothing`. Its columns: `id`, `utterance`/],
    ['id', 'prompts-invalid', /Line 1 cannot be used: `id` is a number, not text/],
    ['deep', 'prompts-invalid', /`deep` is an object, not text/],
    ['constructor', 'prompts-invalid', /has no `constructor`/],
    ['/deep/list/length', 'prompts-invalid', /has no/],
    ['/deep/list/-1/text', 'prompts-invalid', /has no/],
    ['', 'prompt-field-invalid', /1 to 256/],
    ['x'.repeat(257), 'prompt-field-invalid', /1 to 256/],
    ['/a'.repeat(17), 'prompt-field-invalid', /at most 16 steps/],
  ] as const) {
    const failure = await failureOf(by(field));
    t.equal(failure.code, code, field.slice(0, 20));
    t.match(failure.message, expected);
  }
  t.match(
    (await failureOf(read('a\nb', 'text', { choice: { field: 'question' } }))).message,
    /Line 1 has no `question`/,
  );
});

test('a template joins columns', async (t) => {
  const rows = lines(
    { instruction: 'i', input: 'n', level: 3, ok: true, nested: { a: ['z'] } },
    { instruction: 'j', input: '', level: 4, ok: false, nested: { a: ['y'] } },
  );
  const by = async (template: string) => (await read(rows, 'jsonl', { choice: { template } })).prompts;
  t.strictSame(await by('{instruction}\n{input}'), ['i\nn', 'j'], 'as Alpaca’s rows are read without it');
  t.strictSame(await by('Q: {instruction} {{{level}}} {ok}\n\n{input}'), [
    'Q: i {3} true\n\nn',
    'Q: j {4} false\n',
  ]);
  t.strictSame(await by('{/nested/a/0}'), ['z', 'y']);
  const reading = await read(rows, 'jsonl', { choice: { template: '{input}{instruction}{input}' } });
  t.strictSame(reading.source, { format: 'jsonl', field: 'input + instruction', rows: 2, distinct: 2 });
  for (const [template, code, expected] of [
    ['no column', 'prompt-field-invalid', /at least one column/],
    ['{instruction', 'prompt-field-invalid', /brace without its partner/],
    ['{}', 'prompt-field-invalid', /1 to 256/],
    ['{instrution}', 'prompt-field-invalid', /No row has `instrution`.*`instruction`, `input`/],
    ['{level}'.repeat(33), 'prompt-field-invalid', /at most 32 columns/],
    ['x'.repeat(5000), 'prompt-field-invalid', /at most 4096 characters/],
    [
      '{nested}',
      'prompts-invalid',
      /Line 1 cannot be put into promptTemplate: `nested` is an object, not text/,
    ],
    ['{input}', 'prompts-empty', /1 of 2/],
  ] as const) {
    const failure = await failureOf(by(template));
    t.equal(failure.code, code, template.slice(0, 20));
    t.match(failure.message, expected);
  }
  const both = read(rows, 'jsonl', { choice: { field: 'input', template: '{input}' } });
  t.equal((await failureOf(both)).code, 'prompt-field-invalid');
  const large = lines(...Array(50).fill({ text: 'x'.repeat(900) }));
  const grown = read(large, 'jsonl', { choice: { template: '{text}'.repeat(32) } });
  t.equal((await failureOf(grown)).code, 'prompts-too-large', 'what a template makes is bounded');
});
