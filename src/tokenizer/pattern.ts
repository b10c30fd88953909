/**
 * Regular expressions of a `tokenizer.json`, which are Oniguruma's, as JavaScript's. Only what means the same in both is
 * taken, with the library's own tables in place of Node's for classes of characters; anything else is refused.
 */
import { classOf, type TableName } from './code-points.ts';
import { object, refuse, shown, text } from './fields.ts';

/** Longest expression; published ones have up to 600 characters. */
const MAX_CHARACTERS = 4096;

/** Classes that an expression may name. */
const CLASSES: Readonly<Record<string, TableName>> = {
  L: 'L',
  Letter: 'L',
  Lu: 'Lu',
  Ll: 'Ll',
  Lt: 'Lt',
  Lm: 'Lm',
  Lo: 'Lo',
  M: 'M',
  N: 'N',
  Nd: 'Nd',
  P: 'P',
  S: 'S',
};
/** Letters that ASCII ones are equal to where case does not count, beside their other case. */
const FOLDED: Readonly<Record<string, string>> = { s: 'ſ', k: '\u212a' };
/** Letters in a row that a single character stands for where case does not count. */
const LIGATURES = /ff|fi|fl|st|ss|[hjtwy]\u0331|ʼn/i;
const SYNTAX = /[\^$\\.*+?()[\]{}|/]/g;

type Reader = { readonly source: string; at: number; ignoresCase: boolean };

/**
 * The `pattern` of a part of the file: `{"String": …}` or `{"Regex": …}`, as an expression with the flags `g` and `u`. It
 * matches no empty text. Errors: `tokenizer-invalid` naming what of it is not understood.
 */
export function patternOf(value: unknown, what: string): RegExp {
  const fields = object(value, `${what}'s pattern`);
  if ('String' in fields) {
    const literal = text(fields['String'], `${what}'s pattern`);
    if (literal === '') throw refuse(`its ${what} looks for nothing`);
    return new RegExp(literal.replace(SYNTAX, '\\$&'), 'gu');
  }
  const source = text(fields['Regex'], `${what}'s pattern`);
  if (source.length > MAX_CHARACTERS)
    throw refuse(`its ${what} has a pattern of ${source.length} characters`);
  let pattern: RegExp;
  try {
    pattern = new RegExp(translated(source), 'gu');
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    throw refuse(`its ${what} has the pattern ${shown(source)}, which cannot be read`, { cause });
  }
  if (new RegExp(`^(?:${pattern.source})$`, 'u').test('')) {
    throw refuse(`its ${what} has the pattern ${shown(source)}, which matches nothing at all`);
  }
  return pattern;
}

function translated(source: string): string {
  const reader: Reader = { source, at: 0, ignoresCase: false };
  const result = readAlternatives(reader);
  if (reader.at < source.length) throw unknown(reader);
  return result;
}

function unknown({ source, at }: Reader) {
  return refuse(
    `its pattern ${shown(source)} has something at character ${at + 1} that cannot be run the same here`,
  );
}

/** Everything up to the end of the expression or of the group. */
function readAlternatives(reader: Reader): string {
  let result = '';
  while (reader.at < reader.source.length && reader.source[reader.at] !== ')') {
    if (reader.source[reader.at] === '|') {
      result += '|';
      reader.at++;
    } else result += readAtom(reader) + readQuantifier(reader);
  }
  return result;
}

function readAtom(reader: Reader): string {
  const { source, at } = reader;
  switch (source[at]) {
    case '(':
      return readGroup(reader);
    case '[':
      return readClass(reader);
    case '\\': {
      const { inside, kind } = readEscape(reader);
      if (kind === 'character') return inside === '\\-' ? '-' : inside;
      return kind === 'class' ? `[${inside}]` : `[^${inside}]`;
    }
    case '.':
      reader.at++;
      return '[^\\n]';
    case '^':
    case '$':
    case '*':
    case '+':
    case '?':
    case '{':
    case '}':
    case ']':
      throw unknown(reader);
  }
  const character = String.fromCodePoint(source.codePointAt(at)!);
  reader.at += character.length;
  return reader.ignoresCase ? withoutCase(character, reader) : character;
}

const GROUPS = ['(?:', '(?=', '(?!', '(?<=', '(?<!'];

function readGroup(reader: Reader): string {
  const { source, at, ignoresCase } = reader;
  let opening = GROUPS.find((group) => source.startsWith(group, at));
  if (opening) reader.at += opening.length;
  else if (source.startsWith('(?i:', at)) {
    reader.at += 4;
    reader.ignoresCase = true;
    opening = '(?:';
    const end = source.indexOf(')', at);
    if (LIGATURES.test(source.slice(at, end))) throw unknown(reader);
  } else if (source[at + 1] === '?') throw unknown(reader);
  else {
    reader.at++;
    opening = '(?:';
  }
  const inside = readAlternatives(reader);
  if (reader.source[reader.at] !== ')') throw unknown(reader);
  reader.at++;
  reader.ignoresCase = ignoresCase;
  return `${opening}${inside})`;
}

/** An ASCII letter or mark where case does not count. */
function withoutCase(character: string, reader: Reader): string {
  if (!/[a-zA-Z]/.test(character)) {
    if (character > '\x7f') throw unknown(reader);
    return character;
  }
  const lower = character.toLowerCase();
  return `[${lower}${lower.toUpperCase()}${FOLDED[lower] ?? ''}]`;
}

function readQuantifier(reader: Reader): string {
  const { source, at } = reader;
  const quantifier = /^(?:[*+?]|\{\d{1,3}(?:,\d{0,3})?\})/.exec(source.slice(at, at + 12))?.[0] ?? '';
  reader.at += quantifier.length;
  if (quantifier === '') return '';
  const next = source[reader.at];
  // Behind braces these mean another repetition there.
  if (next === '+' || next === '*' || (next === '?' && quantifier.startsWith('{'))) throw unknown(reader);
  if (next !== '?') return quantifier;
  reader.at++;
  return `${quantifier}?`;
}

const CONTROLS = ['r', 'n', 't', 'f', 'v'];
const SHORTHANDS: Readonly<Record<string, TableName>> = { s: 'space', d: 'Nd' };

/** What an escape stands for: a character, a class of them, or all others. */
function readEscape(reader: Reader): { inside: string; kind: 'character' | 'class' | 'complement' } {
  const { source, at } = reader;
  const property = /^\\(p|P)\{(\w+)\}/.exec(source.slice(at, at + 16));
  if (property && Object.hasOwn(CLASSES, property[2]!)) {
    reader.at += property[0].length;
    const kind = property[1] === 'p' ? 'class' : 'complement';
    return { inside: classOf(CLASSES[property[2]!]!), kind };
  }
  const next = source[at + 1] ?? '';
  const shorthand = Object.hasOwn(SHORTHANDS, next.toLowerCase())
    ? SHORTHANDS[next.toLowerCase()]
    : undefined;
  // A letter or digit behind a backslash means something; a mark means itself.
  const isMark = /^[!-/:-@[-`{-~ ]$/.test(next) && next !== '_';
  if (!shorthand && !CONTROLS.includes(next) && !isMark) throw unknown(reader);
  reader.at += 2;
  if (shorthand) return { inside: classOf(shorthand), kind: next < 'a' ? 'complement' : 'class' };
  return { inside: isMark ? inClass(next) : `\\${next}`, kind: 'character' };
}

function readClass(reader: Reader): string {
  const { source } = reader;
  if (reader.ignoresCase) throw unknown(reader);
  reader.at++;
  const isNegated = source[reader.at] === '^';
  if (isNegated) reader.at++;
  let inside = '';
  const first = reader.at;
  for (;;) {
    const next = source[reader.at];
    // A bracket that opens, or comes first, and two ampersands mean more there than here.
    const isPlain = next !== undefined && next !== '[' && !(next === ']' && reader.at === first);
    if (!isPlain || source.startsWith('&&', reader.at)) throw unknown(reader);
    if (next === ']') break;
    inside += readMember(reader);
  }
  reader.at++;
  return `[${isNegated ? '^' : ''}${inside}]`;
}

/** A character, a range of them or a class inside of brackets. */
function readMember(reader: Reader): string {
  const { source } = reader;
  const one = readMemberEnd(reader);
  const isRange = source[reader.at] === '-' && source[reader.at + 1] !== ']';
  if (one.kind === 'complement' || (isRange && (one.kind === 'class' || one.inside === '-')))
    throw unknown(reader);
  if (!isRange) return one.inside;
  reader.at++;
  if (source[reader.at] === '[') throw unknown(reader);
  const last = readMemberEnd(reader);
  if (last.kind !== 'character') throw unknown(reader);
  return `${one.inside}-${last.inside}`;
}

function readMemberEnd(reader: Reader): ReturnType<typeof readEscape> {
  const { source, at } = reader;
  if (source[at] === '\\') return readEscape(reader);
  const character = String.fromCodePoint(source.codePointAt(at)!);
  reader.at += character.length;
  return { inside: inClass(character), kind: 'character' };
}

function inClass(character: string): string {
  return /[\^$\\.*+?()[\]{}|/-]/.test(character) ? `\\${character}` : character;
}
