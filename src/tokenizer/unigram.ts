/** The Unigram model: of all ways to cut a piece into tokens, the one with the highest sum of scores. */
import { count, type Fields, flag, list, refuse, shown, text } from './fields.ts';
import { byteIds, type Model } from './vocabulary.ts';

/** How much worse than the worst token a character is that no token covers. */
const UNKNOWN_PENALTY = 10;
/** Longest token, in characters; SentencePiece makes them of at most 16. */
const MAX_TOKEN_CHARACTERS = 1024;

/** The model that the file describes. Errors: `tokenizer-invalid`. */
export function createUnigram(fields: Fields): Model {
  const vocabulary = new Map<string, number>();
  const scores: number[] = [];
  const lengths = new Set<number>();
  for (const entry of list(fields['vocab'], 'vocabulary')) {
    const [token, score] = list(entry, 'vocabulary entry');
    if (typeof score !== 'number') throw refuse(`its token ${shown(token)} has no score`);
    const own = text(token, 'token');
    const length = [...own].length;
    if (length > MAX_TOKEN_CHARACTERS) throw refuse(`it has a token of ${length} characters`);
    vocabulary.set(own, scores.length);
    scores.push(score);
    if (length > 0) lengths.add(length);
  }
  const unknown = fields['unk_id'] == null ? undefined : count(fields['unk_id'], 'unk_id');
  if (unknown === undefined || unknown >= scores.length) throw refuse('its Unigram model has no unk_id');
  const unknownScore =
    scores.reduce((least, score) => Math.min(least, score), Number.POSITIVE_INFINITY) - UNKNOWN_PENALTY;
  const fallsBack = flag(fields['byte_fallback'], false, 'byte_fallback');
  const ascending = [...lengths].sort((a, b) => a - b);

  function encode(piece: string): number[] {
    const ids: number[] = [];
    for (const part of bestParts(piece)) {
      const id = vocabulary.get(part);
      const bytes = id === undefined && fallsBack ? byteIds(part, vocabulary) : undefined;
      if (bytes) for (const byte of bytes) ids.push(byte);
      else ids.push(id ?? unknown!);
    }
    return ids;
  }

  /** The tokens of the best path, characters without one in runs. */
  function bestParts(piece: string): string[] {
    const starts = startsOf(piece);
    const end = starts.length - 1;
    const best = new Float64Array(end + 1);
    const from = new Int32Array(end + 1).fill(-1);
    const isUnknown = new Uint8Array(end + 1);
    const reach = (at: number, start: number, score: number, lacks: 0 | 1) => {
      if (from[at]! >= 0 && score <= best[at]!) return;
      best[at] = score;
      from[at] = start;
      isUnknown[at] = lacks;
    };
    for (let start = 0; start < end; start++) {
      let isCovered = false;
      for (const length of ascending) {
        if (start + length > end) break;
        const id = vocabulary.get(piece.slice(starts[start], starts[start + length]));
        if (id === undefined) continue;
        // The token for the unknown is one of the vocabulary, and joins its neighbours even where it is spelled out.
        reach(start + length, start, scores[id]! + best[start]!, id === unknown ? 1 : 0);
        if (length === 1) isCovered = true;
      }
      if (!isCovered) reach(start + 1, start, unknownScore + best[start]!, 1);
    }
    const parts: string[] = [];
    let last = end;
    for (let at = end; at > 0; at = from[at]!) {
      const start = from[at]!;
      const joins = isUnknown[at] === 1 && isUnknown[start] === 1 && start > 0;
      if (joins) continue;
      parts.push(piece.slice(starts[start], starts[last]));
      last = start;
    }
    return parts.reverse();
  }

  return { vocabulary, encode };
}

/** Where each character begins, in UTF-16 units, and the end. */
function startsOf(piece: string): number[] {
  const starts: number[] = [];
  let at = 0;
  for (const character of piece) {
    starts.push(at);
    at += character.length;
  }
  starts.push(at);
  return starts;
}
