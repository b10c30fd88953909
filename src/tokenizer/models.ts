/** Models of a `tokenizer.json`: a piece → token ids. Source: the library tokenizers 0.23. */
import { createBpe } from './bpe.ts';
import { count, type Fields, object, refuse, shown, text } from './fields.ts';
import { createUnigram } from './unigram.ts';
import { type Model, unknownId, vocabularyOf } from './vocabulary.ts';

/** The model that the file describes. Errors: `tokenizer-invalid` for one that is not computed the same here. */
export function createModel(value: unknown): Model {
  const fields = object(value, 'model');
  const type = fields['type'] ?? guessedType(fields);
  switch (type) {
    case 'WordPiece':
      return createWordPiece(fields);
    case 'WordLevel':
      return createWordLevel(fields);
    case 'BPE':
      return createBpe(fields);
    case 'Unigram':
      return createUnigram(fields);
    default:
      throw refuse(`its model ${shown(type)} is not known here`);
  }
}

/** Older files do not name the type of their model. */
function guessedType(fields: Fields): string | undefined {
  if (Array.isArray(fields['vocab'])) return 'Unigram';
  if (fields['merges'] !== undefined) return 'BPE';
  return fields['max_input_chars_per_word'] === undefined ? undefined : 'WordPiece';
}

/** Longest pieces of a word first, from the left; a word with a part that is no piece is unknown as a whole. */
function createWordPiece(fields: Fields): Model {
  const vocabulary = vocabularyOf(fields);
  const unknown = unknownId(fields, vocabulary);
  const prefix = text(fields['continuing_subword_prefix'] ?? '##', 'continuing_subword_prefix');
  const most = count(fields['max_input_chars_per_word'] ?? 100, 'max_input_chars_per_word');
  return {
    vocabulary,
    encode(piece) {
      const characters = [...piece];
      if (characters.length > most) return [unknown];
      const ids: number[] = [];
      for (let start = 0; start < characters.length; ) {
        let end = characters.length;
        let id: number | undefined;
        for (; end > start; end--) {
          id = vocabulary.get((start > 0 ? prefix : '') + characters.slice(start, end).join(''));
          if (id !== undefined) break;
        }
        if (id === undefined) return [unknown];
        ids.push(id);
        start = end;
      }
      return ids;
    },
  };
}

function createWordLevel(fields: Fields): Model {
  const vocabulary = vocabularyOf(fields);
  const unknown = unknownId(fields, vocabulary);
  return { vocabulary, encode: (piece) => [vocabulary.get(piece) ?? unknown] };
}
