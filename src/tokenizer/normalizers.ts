/** Normalizers of a `tokenizer.json`: text → text. Source: the library tokenizers 0.23. */
import { openCharsmap } from './charsmap.ts';
import { isIn, type TableName } from './code-points.ts';
import { type Fields, flag, list, object, refuse, shown, text, typeOf } from './fields.ts';
import { patternOf } from './pattern.ts';

/** Text as the next part of the tokenizer sees it. */
export type Normalizer = (text: string) => string;

const MAX_DEPTH = 8;

/** The normalizer that the file describes. Errors: `tokenizer-invalid` for one that is not computed the same here. */
export function createNormalizer(value: unknown, depth = 0): Normalizer {
  if (value === null || value === undefined) return (given) => given;
  const fields = object(value, 'normalizer');
  const type = typeOf(fields, 'normalizer');
  switch (type) {
    case 'BertNormalizer':
      return bertNormalizer(fields);
    case 'NFC':
    case 'NFD':
    case 'NFKC':
    case 'NFKD':
      return (given) => normalize(given, type);
    case 'Lowercase':
      return lowercase;
    case 'StripAccents':
      return (given) => without(given, 'mark');
    case 'Strip':
      return strip(fields);
    case 'Prepend': {
      const prefix = text(fields['prepend'], 'normalizer Prepend');
      return (given) => (given === '' ? given : prefix + given);
    }
    case 'Replace': {
      const pattern = patternOf(fields['pattern'], 'normalizer Replace');
      const content = text(fields['content'], 'normalizer Replace');
      return (given) => given.replace(pattern, () => content);
    }
    case 'Precompiled':
      return openCharsmap(text(fields['precompiled_charsmap'], 'normalizer Precompiled'));
    case 'Sequence': {
      if (depth >= MAX_DEPTH) throw refuse('its normalizers nest too deep');
      const parts = list(fields['normalizers'], 'list of normalizers').map((part) =>
        createNormalizer(part, depth + 1),
      );
      return (given) => parts.reduce((done, part) => part(done), given);
    }
    default:
      throw refuse(`its normalizer ${shown(type)} is not known here`);
  }
}

function bertNormalizer(fields: Fields): Normalizer {
  const on = (name: string, absent: boolean) => flag(fields[name], absent, `BertNormalizer's ${name}`);
  const lowers = on('lowercase', true);
  const cleans = on('clean_text', true);
  const separates = on('handle_chinese_chars', true);
  const strips = on('strip_accents', lowers);
  return (given) => {
    let done = given;
    if (cleans) done = cleanText(done);
    if (separates) done = mapped(done, (point, own) => (isIn('ideograph', point) ? ` ${own} ` : own));
    if (strips) done = without(normalize(done, 'NFD'), 'accent');
    return lowers ? lowercase(done) : done;
  };
}

function cleanText(given: string): string {
  return mapped(given, (point, own) => (isIn('removed', point) ? '' : isIn('space', point) ? ' ' : own));
}

/** Character by character: no letter is written otherwise because it ends a word, as Greek sigma does in JavaScript. */
function lowercase(given: string): string {
  return given.replaceAll('Σ', 'σ').toLowerCase();
}

const NEWER = 'unnormalized' satisfies TableName;

/** Unicode normalization that leaves characters alone which are newer than the library's, as if they meant nothing. */
function normalize(given: string, form: 'NFC' | 'NFD' | 'NFKC' | 'NFKD'): string {
  let done = '';
  let start = 0;
  for (let at = 0; at < given.length; ) {
    const point = given.codePointAt(at)!;
    const length = point > 0xffff ? 2 : 1;
    if (point > 0x7f && isIn(NEWER, point)) {
      done += given.slice(start, at).normalize(form) + given.slice(at, at + length);
      start = at + length;
    }
    at += length;
  }
  return done + given.slice(start).normalize(form);
}

function strip(fields: Fields): Normalizer {
  const left = flag(fields['strip_left'], false, 'normalizer Strip');
  const right = flag(fields['strip_right'], false, 'normalizer Strip');
  return (given) => {
    let start = 0;
    let end = given.length;
    while (left && start < end && isIn('space', given.charCodeAt(start))) start++;
    while (right && end > start && isIn('space', given.charCodeAt(end - 1))) end--;
    return given.slice(start, end);
  };
}

function without(given: string, table: TableName): string {
  return mapped(given, (point, own) => (isIn(table, point) ? '' : own));
}

function mapped(given: string, map: (point: number, own: string) => string): string {
  let done = '';
  for (const own of given) done += map(own.codePointAt(0)!, own);
  return done;
}
