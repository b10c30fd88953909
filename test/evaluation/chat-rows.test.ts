import { test } from 'tap';
import { parseChatRows } from '../../src/evaluation/chat-rows.ts';

const lines = (...rows: unknown[]) => rows.map((row) => JSON.stringify(row)).join('\n');
const user = { role: 'user', content: 'Q?' };

test('the first question of a row and its answer', (t) => {
  const rows = parseChatRows(
    lines(
      {
        messages: [
          { role: 'system', content: 'S' },
          user,
          { role: 'assistant', content: 'Yes' },
          user,
          { role: 'assistant', content: 'x' },
        ],
      },
      {
        messages: [
          { ...user, content: [{ type: 'text', text: 'P' }, { type: 'image_url' }] },
          { role: 'assistant', content: 'No' },
        ],
      },
      { messages: [user, { role: 'assistant', content: null, tool_calls: [] }] },
      { messages: [user, { role: 'assistant', content: 'Z', weight: 0 }] },
      { messages: [user] },
      { prompt: 'old', completion: 'Yes' },
      5,
    ),
  );
  const choices = ['Yes', 'No'];
  t.strictSame(rows, [
    { prompt: 'Q?', response: 'Yes', system: 'S', choices },
    { prompt: 'P', response: 'No', choices },
    { prompt: 'old', response: 'Yes', choices },
  ]);
  t.throws(() => parseChatRows(lines({ messages: [user] })), {
    code: 'evaluation-data-invalid',
    message: /nothing to score/,
  });
  t.throws(() => parseChatRows(`${lines({ messages: [user] })}\n{`), {
    code: 'evaluation-data-invalid',
    message: /^Line 2/,
  });
  t.end();
});
