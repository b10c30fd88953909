/** Pre-tokenizers of a `tokenizer.json`: text → the pieces that the model sees. Source: the library tokenizers 0.23. */
import { isIn, type TableName } from './code-points.ts';
import { type Fields, flag, list, object, refuse, shown, text, typeOf } from './fields.ts';
import { patternOf } from './pattern.ts';
import { type Behaviour, type Matches, type Range, splitText } from './split.ts';

/** A piece of the text, and whether it begins where the whole text does. */
export type Piece = { readonly text: string; readonly isFirst: boolean };
/** Cuts each piece into others. */
export type PreTokenizer = (pieces: readonly Piece[]) => readonly Piece[];

const MAX_DEPTH = 8;

/** The pre-tokenizer that the file describes. Errors: `tokenizer-invalid` for one that is not computed the same here. */
export function createPreTokenizer(value: unknown, depth = 0): PreTokenizer {
  if (value === null || value === undefined) return (pieces) => pieces;
  const fields = object(value, 'pre-tokenizer');
  const type = typeOf(fields, 'pre-tokenizer');
  switch (type) {
    case 'BertPreTokenizer':
      return (pieces) => cut(cut(pieces, ofTable('space'), 'Removed'), ofTable('punctuation'), 'Isolated');
    case 'WhitespaceSplit':
      return (pieces) => cut(pieces, ofTable('space'), 'Removed');
    case 'Whitespace':
      return (pieces) => pieces.flatMap(words);
    case 'Punctuation': {
      const behaviour = behaviourOf(fields['behavior'] ?? 'Isolated');
      return (pieces) => cut(pieces, ofTable('punctuation'), behaviour);
    }
    case 'Digits': {
      const alone = flag(fields['individual_digits'], false, 'pre-tokenizer Digits');
      return (pieces) => cut(pieces, ofTable('numeric'), alone ? 'Isolated' : 'Contiguous');
    }
    case 'Split': {
      const matches = ofPattern(patternOf(fields['pattern'], 'pre-tokenizer Split'));
      const behaviour = behaviourOf(fields['behavior']);
      const inverts = flag(fields['invert'], false, 'pre-tokenizer Split');
      return (pieces) => cut(pieces, matches, behaviour, inverts);
    }
    case 'CharDelimiterSplit': {
      const matches = ofPattern(
        patternOf({ String: fields['delimiter'] }, 'pre-tokenizer CharDelimiterSplit'),
      );
      return (pieces) => cut(pieces, matches, 'Removed');
    }
    case 'ByteLevel':
      return byteLevel(fields);
    case 'Metaspace':
      return metaspace(fields);
    case 'Sequence': {
      if (depth >= MAX_DEPTH) throw refuse('its pre-tokenizers nest too deep');
      const parts = list(fields['pretokenizers'], 'list of pre-tokenizers').map((part) =>
        createPreTokenizer(part, depth + 1),
      );
      return (pieces) => parts.reduce((done, part) => part(done), pieces);
    }
    default:
      throw refuse(`its pre-tokenizer ${shown(type)} is not known here`);
  }
}

const BEHAVIOURS: Readonly<Record<string, Behaviour>> = {
  removed: 'Removed',
  isolated: 'Isolated',
  mergedwithprevious: 'MergedWithPrevious',
  mergedwithnext: 'MergedWithNext',
  contiguous: 'Contiguous',
};

function behaviourOf(value: unknown): Behaviour {
  const name = text(value, 'behavior of a split');
  const found = Object.hasOwn(BEHAVIOURS, name.toLowerCase()) ? BEHAVIOURS[name.toLowerCase()] : undefined;
  if (!found) throw refuse(`its pre-tokenizer splits in a way that is not known here: ${shown(name)}`);
  return found;
}

function cut(
  pieces: readonly Piece[],
  matches: Matches,
  behaviour: Behaviour,
  inverts = false,
): readonly Piece[] {
  return pieces.flatMap(({ text: whole, isFirst }) =>
    splitText(whole, matches, behaviour, inverts).map(({ start, end }) => ({
      text: whole.slice(start, end),
      isFirst: isFirst && start === 0,
    })),
  );
}

/** Each character of a table is a match of its own. */
function ofTable(table: TableName): Matches {
  return function* (whole) {
    for (let at = 0; at < whole.length; ) {
      const point = whole.codePointAt(at)!;
      const length = point > 0xffff ? 2 : 1;
      if (isIn(table, point)) yield { start: at, end: at + length };
      at += length;
    }
  };
}

function ofPattern(pattern: RegExp): Matches {
  return (whole) => {
    // Not `matchAll`, which compiles the expression anew for every piece: seconds for a long text in short words.
    const ranges: Range[] = [];
    pattern.lastIndex = 0;
    for (let match = pattern.exec(whole); match; match = pattern.exec(whole)) {
      ranges.push({ start: match.index, end: pattern.lastIndex });
    }
    return ranges;
  };
}

/** Runs of letters and the like, and runs of everything else that is no white space. */
function words({ text: whole, isFirst }: Piece): Piece[] {
  const pieces: Piece[] = [];
  let start = 0;
  let kind: 'word' | 'other' | 'space' = 'space';
  const finish = (end: number) => {
    if (kind !== 'space') pieces.push({ text: whole.slice(start, end), isFirst: isFirst && start === 0 });
  };
  for (let at = 0; at < whole.length; ) {
    const point = whole.codePointAt(at)!;
    const next = isIn('word', point) ? 'word' : isIn('space', point) ? 'space' : 'other';
    if (next !== kind) {
      finish(at);
      [start, kind] = [at, next];
    }
    at += point > 0xffff ? 2 : 1;
  }
  finish(whole.length);
  return pieces;
}

/** How GPT-2 cuts text, as the library writes it. */
const GPT2 = {
  Regex: "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
};

function byteLevel(fields: Fields): PreTokenizer {
  const addsSpace = flag(fields['add_prefix_space'], true, 'ByteLevel');
  const matches = flag(fields['use_regex'], true, 'ByteLevel')
    ? ofPattern(patternOf(GPT2, 'ByteLevel'))
    : undefined;
  return (pieces) => {
    const spaced = addsSpace ? pieces.map(withSpace) : pieces;
    const split = matches ? cut(spaced, matches, 'Isolated') : spaced;
    return split.map(({ text: own, isFirst }) => ({ text: asBytes(own), isFirst }));
  };
}

function withSpace(piece: Piece): Piece {
  return piece.text.startsWith(' ') ? piece : { ...piece, text: ` ${piece.text}` };
}

/** The character that stands for each byte: itself where it can be seen, else one from U+0100 on, in order. */
const BYTE_CHARACTERS: readonly string[] = (() => {
  let hidden = 0x100;
  const isSeen = (byte: number) =>
    (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad && byte <= 0xff);
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(isSeen(byte) ? byte : hidden++));
})();

function asBytes(own: string): string {
  let done = '';
  for (const byte of Buffer.from(own, 'utf8')) done += BYTE_CHARACTERS[byte];
  return done;
}

function metaspace(fields: Fields): PreTokenizer {
  const mark = text(fields['replacement'], 'replacement of Metaspace');
  if ([...mark].length !== 1) throw refuse('its Metaspace has a replacement that is not one character');
  const scheme = prependScheme(fields);
  const splits = flag(fields['split'], true, 'Metaspace');
  const matches = ofPattern(patternOf({ String: mark }, 'Metaspace'));
  return (pieces) => {
    const marked = pieces.map(({ text: own, isFirst }) => {
      const replaced = own.replaceAll(' ', mark);
      const prepends = !replaced.startsWith(mark) && (scheme === 'always' || (scheme === 'first' && isFirst));
      return { text: prepends ? mark + replaced : replaced, isFirst };
    });
    return splits ? cut(marked, matches, 'MergedWithNext') : marked;
  };
}

/** Older files say with `add_prefix_space` alone what `prepend_scheme` says today. */
function prependScheme(fields: Fields): string {
  const older = flag(fields['add_prefix_space'], true, 'Metaspace') ? 'always' : 'never';
  const scheme = text(fields['prepend_scheme'] ?? older, 'prepend_scheme');
  if (!['always', 'first', 'never'].includes(scheme)) {
    throw refuse(`its Metaspace has the prepend_scheme ${shown(scheme)}`);
  }
  return scheme;
}
