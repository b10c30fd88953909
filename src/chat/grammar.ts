/** What an answer is held to, as a grammar of llama.cpp. */
import type { Llama, LlamaGrammar } from 'node-llama-cpp';
import { chatErrors } from './errors.ts';
import type { AnswerForm } from './question.ts';

/** Keywords of JSON Schema that the grammar keeps to, and those that say nothing about the value. */
const KEPT = new Set([
  ...['type', 'properties', 'required', 'additionalProperties', 'minProperties', 'maxProperties'],
  ...['items', 'prefixItems', 'minItems', 'maxItems', 'minLength', 'maxLength', 'format'],
  ...['const', 'enum', 'oneOf', 'anyOf', '$ref', '$defs', 'definitions'],
  ...['title', 'description', 'default', 'examples', '$schema', '$id', '$comment'],
]);
const TYPES = new Set(['string', 'number', 'integer', 'boolean', 'null', 'object', 'array']);
const COUNTS = new Set([
  ...['minProperties', 'maxProperties', 'minItems', 'maxItems', 'minLength', 'maxLength'],
]);
const FORMATS = new Set(['date', 'time', 'date-time']);
/** Deepest schema, and most schemas in one: beyond what a small model fills in sensibly. */
const MAX_DEPTH = 16;
const MAX_SCHEMAS = 500;

/**
 * The schema as the grammar's maker takes it: `anyOf` as `oneOf`, every property required, since answers may have all of
 * them. Errors: `chat-schema-unsupported` for keywords that would not be kept to.
 */
export function supportedSchema(schema: unknown): object {
  let count = 0;
  const definitions = new Set<string>();
  const references: { readonly target: string; readonly place: string }[] = [];
  const convert = (value: unknown, at: string, depth: number): object => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw unsupported(at, 'it is no schema object');
    }
    if (depth > MAX_DEPTH || ++count > MAX_SCHEMAS) throw unsupported(at, 'there are too many schemas in it');
    const all = (values: unknown, place: string) => {
      if (!Array.isArray(values)) throw unsupported(place, 'it is no list');
      return values.map((each, index) => convert(each, `${place}/${index}`, depth + 1));
    };
    const record = (values: unknown, place: string) => {
      if (typeof values !== 'object' || values === null) throw unsupported(place, 'it is no object');
      return Object.fromEntries(
        Object.entries(values).map(([name, each]) => [name, convert(each, `${place}/${name}`, depth + 1)]),
      );
    };
    const made: Record<string, unknown> = {};
    for (const [keyword, inner] of Object.entries(value)) {
      const place = `${at}/${keyword}`;
      if (!KEPT.has(keyword)) throw unsupported(place, 'the keyword is not kept to');
      if (keyword === 'properties') made['properties'] = record(inner, place);
      else if (keyword === '$defs' || keyword === 'definitions') {
        made['$defs'] = record(inner, place);
        for (const name of Object.keys(made['$defs'] as object)) definitions.add(`#/$defs/${name}`);
      } else if (keyword === 'oneOf' || keyword === 'anyOf') made['oneOf'] = all(inner, place);
      else if (keyword === 'prefixItems') made[keyword] = all(inner, place);
      else if (keyword === 'items') made[keyword] = convert(inner, place, depth + 1);
      else if (keyword === 'additionalProperties') {
        made[keyword] = typeof inner === 'boolean' ? inner : convert(inner, place, depth + 1);
      } else if (keyword === 'format') {
        if (!FORMATS.has(inner as string))
          throw unsupported(place, 'of formats, dates and times are kept to');
        made[keyword] = inner;
      } else if (keyword === '$ref') {
        const target = String(inner).replace(/^#\/definitions\//, '#/$defs/');
        references.push({ target, place });
        made[keyword] = target;
      } else {
        if (keyword === 'type' && ![inner].flat().every((type) => TYPES.has(type as string)))
          throw unsupported(place, 'there is no such type');
        if (COUNTS.has(keyword) && !(Number.isSafeInteger(inner) && (inner as number) >= 0))
          throw unsupported(place, 'it is no whole number');
        made[keyword] = inner;
      }
    }
    return made;
  };
  const made = convert(schema, '', 0);
  // The grammar's maker would let anything stand there.
  const lost = references.find(({ target }) => !definitions.has(target));
  if (lost) throw unsupported(lost.place, 'it leads to no definition');
  return made;
}

function unsupported(pointer: string, why: string) {
  return chatErrors.schema(`At ${pointer.slice(0, 200) || 'the top'}: ${why}.`);
}

/** One of the texts, in llama.cpp's GBNF. They have neither NUL nor lone surrogates, which no token stands for. */
export function choiceGrammar(choices: readonly string[]): string {
  const literal = (choice: string) => `"${choice.replace(/["\\]|[^ -~]/gu, escaped)}"`;
  return `root ::= ${choices.map(literal).join(' | ')}\n`;
}

/** GBNF lacks JSON's escapes for backspace and form feed; it takes every character by its number. */
function escaped(character: string): string {
  if (character === '"' || character === '\\') return `\\${character}`;
  return `\\U${character.codePointAt(0)!.toString(16).padStart(8, '0')}`;
}

/** The grammar. Errors: `chat-schema-unsupported`. */
export async function grammarOf(llama: Llama, form: AnswerForm): Promise<LlamaGrammar> {
  try {
    switch (form.kind) {
      case 'choice':
        return await llama.createGrammar({ grammar: choiceGrammar(form.choices) });
      case 'json':
        return await llama.getGrammarFor('json');
      case 'schema':
        // Checked by supportedSchema; the library's type of schemas cannot hold what is only known at run time.
        return await llama.createGrammarForJsonSchema(form.schema as { type: 'null' });
    }
  } catch (cause) {
    throw chatErrors.schema(
      'llama.cpp refuses its grammar: a length or count of 2,000 or more, a definition that is nothing but itself, or a character that no token stands for.',
      { cause },
    );
  }
}
