/** What the models of a `tokenizer.json` share. */
import { count, type Fields, object, refuse, shown, text } from './fields.ts';

/** A model. */
export type Model = {
  /** Ids by token, as the model itself knows them. */
  readonly vocabulary: ReadonlyMap<string, number>;
  /** The ids of one piece, which is not empty. */
  encode(piece: string): readonly number[];
};

/** Ids by token in a `vocab`. Errors: `tokenizer-invalid`. */
export function vocabularyOf(fields: Fields): Map<string, number> {
  const vocabulary = new Map<string, number>();
  for (const [token, id] of Object.entries(object(fields['vocab'], 'vocabulary'))) {
    vocabulary.set(token, count(id, `id of the token ${shown(token)}`));
  }
  return vocabulary;
}

/** The id of the token for what the vocabulary does not have. Errors: `tokenizer-invalid` where that is not in it. */
export function unknownId(fields: Fields, vocabulary: ReadonlyMap<string, number>): number {
  const token = text(fields['unk_token'], 'unk_token');
  const id = vocabulary.get(token);
  if (id === undefined) throw refuse(`its vocabulary lacks its own unk_token ${shown(token)}`);
  return id;
}

/** The ids of the tokens `<0x41>` for the bytes of a text, or undefined where one of them is missing. */
export function byteIds(
  part: string,
  vocabulary: ReadonlyMap<string, number>,
): readonly number[] | undefined {
  const ids: number[] = [];
  for (const byte of Buffer.from(part, 'utf8')) {
    const id = vocabulary.get(`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`);
    if (id === undefined) return undefined;
    ids.push(id);
  }
  return ids;
}
