import { randomBytes } from 'node:crypto';
import { readPrivateFile, replacePrivateFile } from '../base/private-file.ts';
import { accessErrors } from './errors.ts';
import { MIN_LINK_SECRET_CHARS } from './link.ts';

/** Largest file: a secret of any sensible length. */
const MAX_FILE_BYTES = 4096;

/**
 * The secret that links are signed with, from a file that only this account reads; it is made at the first start. Only one
 * process may do that at a time. Errors: `link-secret-file-invalid`.
 */
export async function openLinkSecret(path: string): Promise<string> {
  const file = await readPrivateFile(path, MAX_FILE_BYTES).catch((cause) => {
    throw accessErrors.linkSecretFile('It cannot be read; its owner, mode or size may be wrong.', { cause });
  });
  if (!file) {
    const secret = randomBytes(32).toString('base64url');
    await replacePrivateFile(path, `${secret}\n`);
    return secret;
  }
  const secret = file.text.trim();
  if (secret.length >= MIN_LINK_SECRET_CHARS) return secret;
  throw accessErrors.linkSecretFile(
    `It has fewer than ${MIN_LINK_SECRET_CHARS} characters. Remove it, and the next start makes another, which ends the links there are.`,
  );
}
