/** What the user says: in a dialogue of turns, in a turn of parts, or as plain text. */
import { type Fields, isFields, kindOf } from './rows.ts';

/** The text that was found, or what is wrong in words that go on after “`column` is …”. */
export type Reading =
  | { readonly text: string /** True where parts other than text were left out. */; readonly media?: true }
  | { readonly fault: string };

const USER_ROLES: ReadonlySet<string> = new Set(['user', 'human']);

/**
 * The user's text in a column's value. Text is itself. A list of turns (`role` and `content`, or `from` and `value`) is its
 * first turn of `user` or `human`, whatever stands before it; where no turn has a role, the first; also where the list is
 * JSON in a text. A list of parts, or content that is one, is its text parts, joined by line breaks. Undefined where there
 * is nothing (null or absent).
 */
export function userText(value: unknown): Reading | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value === 'string') {
    const turns = turnsInText(value);
    return turns ? textOfTurns(turns) : { text: value };
  }
  if (!Array.isArray(value)) return { fault: `${kindOf(value)}, not text` };
  if (value.length === 0) return { fault: 'an empty list' };
  return isDialogue(value) ? textOfTurns(value) : textOfParts(value);
}

/** Like {@link userText}, for columns that hold dialogues: plain text there is a dialogue that cannot be taken apart. */
export function dialogueText(value: unknown): Reading | undefined {
  return typeof value === 'string' && !turnsInText(value)
    ? { fault: 'text, not a list of turns' }
    : userText(value);
}

/** Turns that were written into text as JSON, as tables do that know no lists; taken as a prompt they would bring answers. */
function turnsInText(text: string): readonly Fields[] | undefined {
  if (!/^\s*\[\s*\{/.test(text) || !/"(role|from)"/.test(text)) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return isDialogue(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** True for a list of turns. */
export function isDialogue(value: unknown): value is readonly Fields[] {
  return Array.isArray(value) && value.length > 0 && value.every(isTurn);
}

function isTurn(value: unknown): value is Fields {
  return isFields(value) && ('role' in value || 'from' in value || 'content' in value || 'value' in value);
}

function textOfTurns(turns: readonly Fields[]): Reading {
  const roles = turns.map((turn) => turn['role'] ?? turn['from']);
  const place = roles.every((role) => role === undefined || role === null)
    ? 0
    : roles.findIndex((role) => typeof role === 'string' && USER_ROLES.has(role.toLowerCase()));
  const turn = turns[place];
  if (!turn) return { fault: 'a dialogue without a turn of `user` or `human`' };
  const content = turn['content'] ?? turn['value'];
  if (typeof content === 'string') return { text: content };
  return Array.isArray(content)
    ? textOfParts(content)
    : { fault: `a dialogue whose first user turn has ${kindOf(content)} for its text` };
}

/** Parts as the chat interfaces have them: `{type: 'text', text}`, and others for images and sound. */
function textOfParts(parts: readonly unknown[]): Reading {
  const texts: string[] = [];
  let image = false;
  let other = false;
  for (const part of parts) {
    if (!isFields(part) || typeof part['type'] !== 'string')
      return { fault: 'a list of something else than text' };
    const { type, text } = part;
    if (type === 'text' || type === 'input_text') {
      if (typeof text !== 'string')
        return { fault: `a list with a text part that has ${kindOf(text)} for its text` };
      texts.push(text);
    } else if (type.includes('image')) image = true;
    else other = true;
  }
  if (texts.length === 0)
    return { fault: `${image ? 'images' : 'parts other than text'} alone, without text` };
  return { text: texts.join('\n'), ...((image || other) && { media: true }) };
}
