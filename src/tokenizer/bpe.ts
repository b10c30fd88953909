/** Byte-pair encoding: characters, of which the neighbours with the earliest merge are joined until none is left. */
import { type Fields, flag, list, refuse, shown, text } from './fields.ts';
import { createHeap } from './heap.ts';
import { byteIds, type Model, vocabularyOf } from './vocabulary.ts';

/** Most pieces that are remembered, and the longest of them. */
const MAX_CACHED = 10_000;
const MAX_CACHED_CHARACTERS = 256;

type Merge = { readonly rank: number; readonly id: number };

/** The model that the file describes. Errors: `tokenizer-invalid`. */
export function createBpe(fields: Fields): Model {
  const vocabulary = vocabularyOf(fields);
  if (typeof fields['dropout'] === 'number' && fields['dropout'] > 0) {
    throw refuse('its BPE model drops merges at random');
  }
  const prefix = text(fields['continuing_subword_prefix'] ?? '', 'continuing_subword_prefix');
  const suffix = text(fields['end_of_word_suffix'] ?? '', 'end_of_word_suffix');
  const unknownToken = fields['unk_token'] == null ? undefined : text(fields['unk_token'], 'unk_token');
  const unknown = unknownToken === undefined ? undefined : vocabulary.get(unknownToken);
  if (unknownToken !== undefined && unknown === undefined) {
    throw refuse(`its vocabulary lacks its own unk_token ${shown(unknownToken)}`);
  }
  const fuses = flag(fields['fuse_unk'], false, 'fuse_unk');
  const fallsBack = flag(fields['byte_fallback'], false, 'byte_fallback');
  const takesWhole = flag(fields['ignore_merges'], false, 'ignore_merges');
  const merges = mergesOf(fields, vocabulary, prefix);
  const cache = new Map<string, readonly number[]>();

  /** The ids of the single characters. */
  function symbols(piece: string): number[] {
    const ids: number[] = [];
    let pending = false;
    const characters = [...piece];
    for (const [index, character] of characters.entries()) {
      const symbol = (index > 0 ? prefix : '') + character + (index === characters.length - 1 ? suffix : '');
      const id = vocabulary.get(symbol);
      if (id !== undefined) {
        if (pending) ids.push(unknown!);
        pending = false;
        ids.push(id);
        continue;
      }
      // As the library does it, bytes come before an unknown character that waits for its neighbours.
      const bytes = fallsBack ? byteIds(symbol, vocabulary) : undefined;
      if (bytes) ids.push(...bytes);
      else if (unknown !== undefined) {
        if (pending && !fuses) ids.push(unknown);
        pending = true;
      }
    }
    if (pending) ids.push(unknown!);
    return ids;
  }

  return {
    vocabulary,
    encode(piece) {
      const known = cache.get(piece);
      if (known) return known;
      const whole = takesWhole ? vocabulary.get(piece) : undefined;
      const ids = whole === undefined ? mergeAll(symbols(piece), merges) : [whole];
      if (piece.length <= MAX_CACHED_CHARACTERS) {
        if (cache.size >= MAX_CACHED) cache.clear();
        cache.set(piece, ids);
      }
      return ids;
    },
  };
}

/** Merges by the ids of their two sides; a Map in a Map, since two ids together may be beyond exact integers. */
function mergesOf(
  fields: Fields,
  vocabulary: ReadonlyMap<string, number>,
  prefix: string,
): Map<number, Map<number, Merge>> {
  const merges = new Map<number, Map<number, Merge>>();
  for (const [rank, entry] of list(fields['merges'], 'list of merges').entries()) {
    const sides = typeof entry === 'string' ? entry.split(' ') : list(entry, 'merge');
    const [left, right] = [text(sides[0], 'merge'), text(sides[1], 'merge')];
    if (sides.length !== 2) throw refuse(`its merge ${rank} has not two sides`);
    const joined = left + (prefix !== '' && right.startsWith(prefix) ? right.slice(prefix.length) : right);
    const [a, b, id] = [vocabulary.get(left), vocabulary.get(right), vocabulary.get(joined)];
    if (a === undefined || b === undefined || id === undefined) {
      throw refuse(`its merge ${shown(`${left} ${right}`)} has a token that the vocabulary lacks`);
    }
    const inner = merges.get(a) ?? new Map<number, Merge>();
    merges.set(a, inner.set(b, { rank, id }));
  }
  return merges;
}

type Waiting = { readonly at: number; readonly rank: number; readonly id: number };

/** Joins neighbours by rank, the leftmost of equal ones first. */
function mergeAll(
  symbols: number[],
  merges: ReadonlyMap<number, ReadonlyMap<number, Merge>>,
): readonly number[] {
  const size = symbols.length;
  const next = Int32Array.from({ length: size }, (_, index) => (index + 1 < size ? index + 1 : -1));
  const previous = Int32Array.from({ length: size }, (_, index) => index - 1);
  const isGone = new Uint8Array(size);
  const waiting = createHeap<Waiting>((a, b) => a.rank - b.rank || a.at - b.at);
  const consider = (at: number) => {
    if (at < 0 || next[at]! < 0) return;
    const merge = merges.get(symbols[at]!)?.get(symbols[next[at]!]!);
    if (merge) waiting.push({ at, ...merge });
  };
  for (let at = 0; at < size; at++) consider(at);
  for (let top = waiting.pop(); top; top = waiting.pop()) {
    const { at, id } = top;
    const right = isGone[at] ? -1 : next[at]!;
    // What waited for neighbours that have been joined otherwise by now.
    if (right < 0 || merges.get(symbols[at]!)?.get(symbols[right]!)?.id !== id) continue;
    symbols[at] = id;
    isGone[right] = 1;
    next[at] = next[right]!;
    if (next[at]! >= 0) previous[next[at]!] = at;
    consider(previous[at]!);
    consider(at);
  }
  return symbols.filter((_, index) => !isGone[index]);
}
