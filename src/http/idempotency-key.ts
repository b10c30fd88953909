/** The Idempotency-Key header (draft-ietf-httpapi-idempotency-key-header). */
import { sha256 } from '../base/digest.ts';
import { httpErrors } from './errors.ts';

/** Longest key: far beyond a UUID, and short enough to be a header. */
const MAX_KEY_CHARS = 255;

/**
 * The job id a key stands for: `key_` and 160 bits of the key's digest, so that any key fits the form of ids. The draft's
 * quoted form and the bare form in common use are the same key. Errors: `idempotency-key-invalid`.
 */
export function jobIdOfKey(header: string | readonly string[]): string {
  if (typeof header !== 'string') throw httpErrors.idempotencyKey('The header was sent more than once.');
  const quoted = /^"((?:[^"\\]|\\["\\])*)"$/.exec(header);
  const key = quoted ? quoted[1]!.replace(/\\(.)/g, '$1') : header;
  if (!/^[\x20-\x7e]+$/.test(key) || key.length > MAX_KEY_CHARS) {
    throw httpErrors.idempotencyKey(`A key has 1 to ${MAX_KEY_CHARS} printable ASCII characters.`);
  }
  return `key_${sha256(key).slice(0, 40)}`;
}
