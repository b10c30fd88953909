/** Chat rows with answers, as fine-tuning files have them → rows that can be scored. */
import { evaluationErrors } from './errors.ts';
import { isText, linesOf, type Row, withCommonChoices } from './rows.ts';

type Fields = Readonly<Record<string, unknown>>;

/**
 * The rows of JSON lines `{messages: […]}`: of each the first user turn and the answer to it, and the system text where there is one
 * before it. Rows without a text as such an answer (a call of a tool, `weight` 0) are left out; `{prompt, completion}` is taken
 * as it is. Where the answers of all rows are few, they are choices (see `withCommonChoices`). Errors:
 * `evaluation-data-invalid` with the line, or where no row can be scored.
 */
export function parseChatRows(text: string): Row[] {
  const rows: Row[] = [];
  for (const { value, place } of linesOf(text)) {
    if (value === undefined) throw evaluationErrors.data(`${place} is not JSON.`);
    const row = readRow(value);
    if (row) rows.push(row);
  }
  if (rows.length === 0) {
    throw evaluationErrors.data(
      'No row has a user turn with a text as its answer, so there is nothing to score.',
    );
  }
  return withCommonChoices(rows);
}

function readRow(value: unknown): Row | undefined {
  if (!isFields(value)) return undefined;
  const { messages, prompt, completion } = value;
  if (!Array.isArray(messages)) {
    return isText(prompt) && isText(completion) ? { prompt, response: completion } : undefined;
  }
  const turns = messages.filter(isFields);
  const user = turns.findIndex(({ role }) => role === 'user');
  const answer = turns[user + 1];
  if (user === -1 || answer?.['role'] !== 'assistant' || answer['weight'] === 0) return undefined;
  const said = textOf(turns[user]!['content']);
  const response = textOf(answer['content']);
  if (!isText(said) || !isText(response)) return undefined;
  const system = turns
    .slice(0, user)
    .filter(({ role }) => role === 'system' || role === 'developer')
    .map(({ content }) => textOf(content))
    .filter(isText)
    .join('\n');
  return { prompt: said, response, ...(isText(system) && { system }) };
}

function isFields(value: unknown): value is Fields {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}

/** Text as it is, or the text parts of content in parts. */
function textOf(content: unknown): unknown {
  if (!Array.isArray(content)) return content;
  return content
    .flatMap((part) => (isFields(part) && typeof part['text'] === 'string' ? [part['text']] : []))
    .join('\n');
}
