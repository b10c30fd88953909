/** Columns as a client names them, and templates made of such names. */
import { userText } from './dialogue.ts';
import { promptErrors } from './errors.ts';
import { type Fields, isFields, kindOf } from './rows.ts';

/** Longest name or pointer of a column: column names are words, and pointers a few of them. */
export const MAX_FIELD_CHARS = 256;
/** Longest template: words around a few columns. */
export const MAX_TEMPLATE_CHARS = 4096;
/** Most columns of a template: rows of public data sets have a dozen. */
const MAX_PLACEHOLDERS = 32;
/** Deepest pointer: `/input/messages/0/content/0/text` has six steps. */
const MAX_DEPTH = 16;

/** A column as it was named, and the steps to it. */
export type FieldPath = { readonly name: string; readonly steps: readonly string[] };

/** A template: lines of literal text and columns. */
export type Template = readonly (readonly (string | FieldPath)[])[];

/** A column's name, or a JSON pointer (RFC 6901) into a row where it begins with `/`. Errors: `prompt-field-invalid`. */
export function parseField(name: string): FieldPath {
  if (name === '' || name.length > MAX_FIELD_CHARS)
    throw promptErrors.choice(`A column’s name has 1 to ${MAX_FIELD_CHARS} characters.`);
  if (!name.startsWith('/')) return { name, steps: [name] };
  const steps = name.slice(1).split('/');
  if (steps.length > MAX_DEPTH)
    throw promptErrors.choice(`A JSON pointer to a column has at most ${MAX_DEPTH} steps.`);
  return { name, steps: steps.map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~')) };
}

/**
 * A template: text with `{column}` or `{/json/pointer}` in it; `{{` and `}}` are braces. Errors: `prompt-field-invalid`.
 */
export function parseTemplate(text: string): Template {
  if (text.length > MAX_TEMPLATE_CHARS)
    throw promptErrors.choice(`A template has at most ${MAX_TEMPLATE_CHARS} characters.`);
  const template = text.split(/\r\n|\n|\r/).map(parseLine);
  const count = fieldsOf(template).length;
  if (count === 0) throw promptErrors.choice('A template has at least one column, as in `{question}`.');
  if (count > MAX_PLACEHOLDERS)
    throw promptErrors.choice(`A template has at most ${MAX_PLACEHOLDERS} columns.`);
  return template;
}

/** The columns of a template, in order. */
export function fieldsOf(template: Template): FieldPath[] {
  return template.flat().filter((part) => typeof part !== 'string');
}

function parseLine(line: string): (string | FieldPath)[] {
  const parts: (string | FieldPath)[] = [];
  let literal = '';
  for (const [token, name] of line.matchAll(/\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+/g)) {
    if (name !== undefined) {
      if (literal !== '') parts.push(literal);
      literal = '';
      parts.push(parseField(name));
    } else if (token === '{' || token === '}') {
      throw promptErrors.choice('A template has a brace without its partner; write {{ or }} for a brace.');
    } else literal += token === '{{' || token === '}}' ? token[0] : token;
  }
  if (literal !== '' || parts.length === 0) parts.push(literal);
  return parts;
}

/** The value at a path, or undefined. Only what a row itself has is found, nothing that every object has. */
export function valueAt(row: Fields, { steps }: FieldPath): unknown {
  let value: unknown = row;
  for (const step of steps) {
    if (Array.isArray(value)) value = /^(0|[1-9][0-9]{0,8})$/.test(step) ? value[Number(step)] : undefined;
    else value = isFields(value) && Object.hasOwn(value, step) ? value[step] : undefined;
  }
  return value;
}

/** What a template makes of a row, or what is wrong with the row. */
export type Rendering = { readonly text: string; readonly media?: true } | { readonly fault: string };

/**
 * A row in a template. Absent, null and empty columns are empty, and a line whose columns are all empty is left out, so that
 * `{instruction}\n{input}` without an input is the instruction alone. Numbers and booleans are written as JSON has them.
 */
export function render(template: Template, row: Fields): Rendering {
  const lines: string[] = [];
  let media = false;
  for (const parts of template) {
    let line = '';
    let filled = parts.every((part) => typeof part === 'string');
    for (const part of parts) {
      if (typeof part === 'string') {
        line += part;
        continue;
      }
      const value = valueAt(row, part);
      const reading = isPlain(value) ? { text: String(value) } : userText(value);
      if (!reading) continue;
      if ('fault' in reading) return { fault: `\`${part.name}\` is ${reading.fault}` };
      line += reading.text;
      filled ||= reading.text !== '';
      media ||= reading.media ?? false;
    }
    if (filled) lines.push(line);
  }
  return { text: lines.join('\n'), ...(media && { media: true as const }) };
}

function isPlain(value: unknown): value is number | bigint | boolean {
  return ['number', 'bigint', 'boolean'].includes(typeof value);
}

/** What a chosen column has in a row, in words that go on after a row’s place. */
export function missingField({ name }: FieldPath, value: unknown): string {
  return value === undefined ? `has no \`${name}\`` : `has ${kindOf(value)} in \`${name}\``;
}
