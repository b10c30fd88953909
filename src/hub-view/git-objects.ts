/** What Git and its Large File Storage call a file, for clients that compare it. */
import { createHash } from 'node:crypto';
import type { Sha256 } from '../base/digest.ts';

/** The id of a Git blob of these bytes, 40 hex digits. `bytes` is their number. Errors: those of `content`. */
export async function blobId(
  content: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  bytes: number,
): Promise<string> {
  const hash = createHash('sha1').update(`blob ${bytes}\0`);
  for await (const chunk of content) hash.update(chunk);
  return hash.digest('hex');
}

/** The file that stands in a Git repository for one in Large File Storage. */
export function lfsPointer({ sha256, bytes }: { sha256: Sha256; bytes: number }): Uint8Array {
  return new TextEncoder().encode(
    `version https://git-lfs.github.com/spec/v1\noid sha256:${sha256}\nsize ${bytes}\n`,
  );
}
