/** API keys as text. A key is random and kept nowhere; its SHA-256 is enough to know it again. */
import { randomBytes } from 'node:crypto';
import { type Sha256, sha256 } from '../base/digest.ts';

/** What every key begins with, so that scanners of source code and logs can find one. */
export const KEY_PREFIX = 'ld_';
/** Random bytes of a key: 256 bits, so its unsalted digest cannot be searched for. */
const KEY_BYTES = 32;
const KEY = /^ld_[A-Za-z0-9_-]{43}$/;

/** A new key: `ld_` and 43 characters of base64url. */
export function newApiKey(random: (bytes: number) => Uint8Array = randomBytes): string {
  return KEY_PREFIX + Buffer.from(random(KEY_BYTES)).toString('base64url');
}

/** True for a text of the form of a key. */
export function isApiKey(text: string): boolean {
  return KEY.test(text);
}

/** What is kept of a key. */
export function digestOfKey(key: string): Sha256 {
  return sha256(key);
}
