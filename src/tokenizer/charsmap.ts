/**
 * SentencePiece's table of replacements as a `Precompiled` normalizer holds it: a trie as a double array (Darts), and behind
 * it the replacements, each ended by a zero byte. Looked up as the library tokenizers looks up, the first match it finds
 * even where a longer one follows.
 */
import { refuse } from './fields.ts';

/** Largest table; SentencePiece's own of NFKC with case folding has 240 kB. */
const MAX_BYTES = 1 << 22;
/** Longest grapheme, in bytes of UTF-8, that is looked up as a whole. */
const MAX_GRAPHEME_BYTES = 5;

const LEAF = 0x100;
const WIDE_OFFSET = 0x200;

/** The normalizer of a table in base64. Errors: `tokenizer-invalid`. */
export function openCharsmap(base64: string): (text: string) => string {
  const bytes = Buffer.from(base64, 'base64');
  if (bytes.length === 0) return (given) => given;
  const trieBytes = bytes.length >= 4 ? bytes.readUInt32LE(0) : 0;
  if (bytes.length > MAX_BYTES || trieBytes % 4 !== 0 || trieBytes === 0 || 4 + trieBytes > bytes.length) {
    throw refuse('its normalizer Precompiled has a damaged table');
  }
  const units = new Uint32Array(trieBytes / 4).map((_, index) => bytes.readUInt32LE(4 + 4 * index));
  const replacements = bytes.subarray(4 + trieBytes);
  const encoder = new TextEncoder();
  const segmenter = new Intl.Segmenter('en', { granularity: 'grapheme' });

  /** What stands for the shortest beginning of these bytes that the table has, or undefined. */
  function lookUp(key: Uint8Array): string | undefined {
    let node = offsetOf(units[0]!);
    for (const byte of key) {
      if (byte === 0) return undefined;
      node ^= byte;
      const unit = units[node];
      if (unit === undefined || (unit & 0x800000ff) >>> 0 !== byte) return undefined;
      node ^= offsetOf(unit);
      if ((unit & LEAF) === 0) continue;
      const start = (units[node] ?? 0) & 0x7fffffff;
      const end = replacements.indexOf(0, start);
      return replacements.toString('utf8', start, end < 0 ? replacements.length : end);
    }
    return undefined;
  }

  return (given) => {
    let done = '';
    for (const { segment } of segmenter.segment(given)) {
      const whole = encoder.encode(segment);
      const replaced = whole.length <= MAX_GRAPHEME_BYTES ? lookUp(whole) : undefined;
      if (replaced !== undefined) done += replaced;
      else for (const one of segment) done += lookUp(encoder.encode(one)) ?? one;
    }
    return done;
  };
}

function offsetOf(unit: number): number {
  return ((unit >>> 10) << ((unit & WIDE_OFFSET) >>> 6)) >>> 0;
}
