/**
 * JSON as the reference library of safetensors reads it. `JSON.parse` takes more: a key twice, `4e0` for an integer, half of
 * a surrogate pair. A header that one program takes and another refuses, or reads otherwise, is not let through.
 */
import { adapterErrors } from './errors.ts';

/** A number as it was written, since how it was written decides what it may stand for. */
export type JsonNumber = { readonly source: string };
/** An object as its keys and values in order, a repeated key as often as it is there. */
export type JsonObject = { readonly pairs: readonly (readonly [string, JsonValue])[] };
/** A value of a header. */
export type JsonValue = null | boolean | string | JsonNumber | JsonObject | readonly JsonValue[];

/** Deepest nesting that the reference library reads. */
const MAX_DEPTH = 127;

const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const LITERALS = [
  ['true', true],
  ['false', false],
  ['null', null],
] as const;

const malformed = (cause?: unknown) =>
  adapterErrors.safetensors('The header is not JSON in UTF-8.', { cause });

type Reader = { readonly text: string; at: number; depth: number };

/** The only value in the bytes. Errors: `safetensors-invalid`. */
export function parseHeaderJson(bytes: Uint8Array): JsonValue {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw malformed(cause);
  }
  const reader: Reader = { text, at: 0, depth: 0 };
  const value = readValue(reader);
  skipSpace(reader);
  if (reader.at < text.length) throw malformed();
  return value;
}

/** True for an object of the header. */
export function isJsonObject(value: JsonValue | undefined): value is JsonObject {
  return value !== null && typeof value === 'object' && 'pairs' in value;
}

/**
 * A count as the format wants one: digits alone. Undefined for anything else, and for counts beyond exact integers.
 */
export function countOf(value: JsonValue | undefined): number | undefined {
  if (value === null || typeof value !== 'object' || !('source' in value)) return undefined;
  const count = /^\d+$/.test(value.source) ? Number(value.source) : -1;
  return count >= 0 && Number.isSafeInteger(count) ? count : undefined;
}

function readValue(reader: Reader): JsonValue {
  skipSpace(reader);
  const { text, at } = reader;
  switch (text[at]) {
    case '"':
      return readString(reader);
    case '{':
      return readObject(reader);
    case '[':
      return readArray(reader);
  }
  for (const [word, value] of LITERALS) {
    if (!text.startsWith(word, at)) continue;
    reader.at += word.length;
    return value;
  }
  NUMBER.lastIndex = at;
  const number = NUMBER.exec(text)?.[0];
  if (number === undefined) throw malformed();
  reader.at += number.length;
  return { source: number };
}

function readObject(reader: Reader): JsonObject {
  const pairs: (readonly [string, JsonValue])[] = [];
  readItems(reader, '}', () => {
    skipSpace(reader);
    if (reader.text[reader.at] !== '"') throw malformed();
    const key = readString(reader);
    skipSpace(reader);
    if (reader.text[reader.at++] !== ':') throw malformed();
    pairs.push([key, readValue(reader)]);
  });
  return { pairs };
}

function readArray(reader: Reader): readonly JsonValue[] {
  const values: JsonValue[] = [];
  readItems(reader, ']', () => values.push(readValue(reader)));
  return values;
}

/** What stands between the bracket at hand and `close`, with commas between. */
function readItems(reader: Reader, close: '}' | ']', readItem: () => void): void {
  if (++reader.depth > MAX_DEPTH) throw malformed();
  reader.at++;
  skipSpace(reader);
  if (reader.text[reader.at] === close) reader.at++;
  else {
    for (;;) {
      readItem();
      skipSpace(reader);
      const mark = reader.text[reader.at++];
      if (mark === close) break;
      if (mark !== ',') throw malformed();
    }
  }
  reader.depth--;
}

function readString(reader: Reader): string {
  const { text, at } = reader;
  let end = at + 1;
  while (end < text.length && text[end] !== '"') end += text[end] === '\\' ? 2 : 1;
  reader.at = end + 1;
  let value: string;
  try {
    value = JSON.parse(text.slice(at, reader.at)) as string;
  } catch (cause) {
    throw malformed(cause);
  }
  if (!value.isWellFormed())
    throw adapterErrors.safetensors('The header has a text with half of a surrogate pair.');
  return value;
}

function skipSpace(reader: Reader): void {
  while (' \t\n\r'.includes(reader.text[reader.at] ?? '-')) reader.at++;
}
