/** What the library tokenizers makes of many strings; see `make_reference.py`. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';

type Reference = {
  readonly tokenizers: string;
  readonly texts: readonly string[];
  /** Files of the common kinds, and the ids of each text with special tokens. */
  readonly files: readonly { name: string; content: unknown; ids: readonly (readonly number[])[] }[];
  /** Single parts, and what each makes of each text. */
  readonly parts: readonly {
    kind: 'normalizer' | 'pre_tokenizer';
    config: unknown;
    results: readonly (string | readonly string[])[];
  }[];
};

const BERT = join(import.meta.dirname, '../../src/models/bert-uncased/tokenizer.json');

/** The committed reference. */
export function readReference(): Reference {
  const packed = readFileSync(join(import.meta.dirname, 'reference.json.gz'));
  const { tables, ...reference } = JSON.parse(gunzipSync(packed).toString()) as Reference & {
    tables: string[];
  };
  const bert: unknown = JSON.parse(readFileSync(BERT, 'utf8'));
  /** Puts the tables of replacements back into their places. */
  const whole = (value: unknown): unknown => {
    if (typeof value === 'string') return /^table \d+$/.test(value) ? tables[Number(value.slice(6))] : value;
    if (Array.isArray(value)) return value.map(whole);
    if (value === null || typeof value !== 'object') return value;
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, whole(item)]));
  };
  return {
    ...reference,
    files: reference.files.map((file) => ({
      ...file,
      content: file.content === null ? bert : whole(file.content),
    })),
    parts: reference.parts.map((part) => ({ ...part, config: whole(part.config) })),
  };
}
