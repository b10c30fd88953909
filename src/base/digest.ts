/** SHA-256 in the one spelling used everywhere: 64 lower-case hex digits. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';

/** A SHA-256 as 64 lower-case hex digits. */
export type Sha256 = string;
/** The form of a {@link Sha256}. */
export const SHA256_PATTERN = '^[0-9a-f]{64}$';

/** The digest of bytes or of a string's UTF-8. */
export function sha256(data: Uint8Array | string): Sha256 {
  return createHash('sha256').update(data).digest('hex');
}

/** The digest and size of a file, read as a stream. */
export async function sha256File(
  path: string,
  options: { signal?: AbortSignal; onBytes?: (bytes: number) => void } = {},
): Promise<{ sha256: Sha256; bytes: number }> {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) {
    options.signal?.throwIfAborted();
    hash.update(chunk as Buffer);
    bytes += (chunk as Buffer).length;
    options.onBytes?.((chunk as Buffer).length);
  }
  return { sha256: hash.digest('hex'), bytes };
}

/** A digest of a JSON value that does not depend on the order of object keys. */
export function sha256Json(value: unknown): Sha256 {
  return sha256(
    JSON.stringify(value, (_key, inner: unknown) =>
      inner !== null && typeof inner === 'object' && !Array.isArray(inner)
        ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)))
        : inner,
    ),
  );
}
