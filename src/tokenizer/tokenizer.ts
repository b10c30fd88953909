/**
 * Text → token ids, as the library tokenizers computes them for the same `tokenizer.json`. What a file asks for that would
 * come out otherwise here is refused when it is opened; `test/tokenizer` compares ids with the library's own.
 */
import { createTokenFinders } from './added-tokens.ts';
import { object, refuse } from './fields.ts';
import { createModel } from './models.ts';
import { createNormalizer, type Normalizer } from './normalizers.ts';
import { createPreTokenizer, type Piece } from './pre-tokenizers.ts';
import { type SpecialTokens, specialTokensOf } from './special-tokens.ts';

/** A tokenizer. Its file's truncation and padding do not count: the caller cuts and pads. */
export type Tokenizer = SpecialTokens & {
  /** The ids of a text without special tokens around it, no more than `limit` of them. */
  encode(text: string, limit?: number): readonly number[];
  /** The largest id that can come out. */
  readonly largestId: number;
};

/**
 * The tokenizer that the content of a `tokenizer.json` describes.
 * Errors: `tokenizer-invalid` naming the part that is not understood.
 */
export function createTokenizer(content: unknown): Tokenizer {
  const fields = object(content, 'content');
  const normalizer = createNormalizer(fields['normalizer']);
  const preTokenizer = createPreTokenizer(fields['pre_tokenizer']);
  const model = createModel(fields['model']);
  const finders = createTokenFinders(fields['added_tokens'], model.vocabulary, normalizer);
  const special = specialTokensOf(fields['post_processor']);
  const beginsText = firstKept(
    fields['normalizer'],
    normalizer,
    JSON.stringify(fields['pre_tokenizer'] ?? null),
  );
  let largestId = 0;
  for (const id of model.vocabulary.values()) largestId = Math.max(largestId, id);
  for (const id of [...finders.ids, ...special.before, ...special.after]) largestId = Math.max(largestId, id);

  /** Sections of a text: ids of added tokens, and pieces for the model. */
  function* sectionsOf(text: string): Generator<number | Piece> {
    for (const raw of finders.raw(text)) {
      if (raw.id !== undefined) {
        yield raw.id;
        continue;
      }
      const normalized = normalizer(text.slice(raw.start, raw.end));
      const isFirst = raw.start === 0 && beginsText(text);
      for (const { start, end, id } of finders.normalized(normalized)) {
        if (id !== undefined) yield id;
        else yield { text: normalized.slice(start, end), isFirst: isFirst && start === 0 };
      }
    }
  }

  return {
    ...special,
    largestId,
    encode(text, limit = Number.POSITIVE_INFINITY) {
      const ids: number[] = [];
      for (const section of sectionsOf(text)) {
        if (typeof section === 'number') ids.push(section);
        else {
          for (const piece of preTokenizer([section])) {
            if (piece.text !== '') for (const id of model.encode(piece.text)) ids.push(id);
            if (ids.length >= limit) break;
          }
        }
        if (ids.length >= limit) return ids.slice(0, limit);
      }
      return ids;
    },
  };
}

/**
 * Whether a normalized text still begins with what it began with, which Metaspace's prepend_scheme `first` asks: the library
 * does not take a text for its beginning when the first character is gone. Errors: `tokenizer-invalid` where that cannot be told.
 */
function firstKept(
  normalizers: unknown,
  normalizer: Normalizer,
  preTokenizers: string,
): (text: string) => boolean {
  if (!preTokenizers.includes('"prepend_scheme":"first"')) return () => true;
  if (/"type":"Replace"[^}]*\}?[^}]*"content":""/.test(JSON.stringify(normalizers ?? null))) {
    throw refuse('its Metaspace goes by the first character, which its normalizer Replace may remove');
  }
  const segmenter = new Intl.Segmenter('en', { granularity: 'grapheme' });
  return (text) => {
    const [first] = segmenter.segment(text.slice(0, FIRST_CHARACTERS));
    return first !== undefined && normalizer(first.segment) !== '';
  };
}

/** Characters that the first grapheme is looked for in. */
const FIRST_CHARACTERS = 64;
