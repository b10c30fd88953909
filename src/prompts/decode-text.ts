/** Bytes as text. */
import { promptErrors } from './errors.ts';

/** Byte-order marks of the encodings that are told by one; UTF-32 first, since it begins like UTF-16. */
const MARKS: readonly { readonly encoding: string; readonly bytes: readonly number[] }[] = [
  { encoding: 'utf-32', bytes: [0xff, 0xfe, 0, 0] },
  { encoding: 'utf-32', bytes: [0, 0, 0xfe, 0xff] },
  { encoding: 'utf-16le', bytes: [0xff, 0xfe] },
  { encoding: 'utf-16be', bytes: [0xfe, 0xff] },
];

/** The encoding that a byte-order mark at the start of the bytes stands for; UTF-8 without one. */
export function encodingOf(bytes: Uint8Array): string {
  const mark = MARKS.find((mark) => mark.bytes.every((byte, place) => bytes[place] === byte));
  return mark?.encoding ?? 'utf-8';
}

/** UTF-8 bytes as text, a leading byte-order mark dropped. Errors: `text-not-utf8` instead of replacement characters. */
export function decodeUtf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw promptErrors.notUtf8('A byte sequence in the text is not UTF-8.', { cause });
  }
}

/** Bytes in UTF-8, or in UTF-16 with a byte-order mark, as text without the mark. Errors: `text-not-utf8`. */
export function decodeText(bytes: Uint8Array): string {
  const encoding = encodingOf(bytes);
  if (encoding === 'utf-8') return decodeUtf8(bytes);
  if (encoding === 'utf-32') throw promptErrors.notUtf8('The text is UTF-32; encode it as UTF-8.');
  try {
    return new TextDecoder(encoding, { fatal: true }).decode(bytes);
  } catch (cause) {
    throw promptErrors.notUtf8('The text begins like UTF-16 and is not.', { cause });
  }
}
