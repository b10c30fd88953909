/** Files of adapters, taken up again where a connection breaks, and checked against their digest. */
import { DigestError, ProblemError, UnreachableError } from './errors.ts';
import { type Connection, request, wait } from './request.ts';
import type { Adapter } from './types.ts';

/** A file as the adapter's record lists it. */
export type AdapterFile = Adapter['files'][number];

/** Connections in a row that bring no byte before it is given up. */
const MAX_EMPTY = 5;
const RECONNECT_MS = 500;

/** Which part of a file is wanted, and who is told. */
export type DownloadOptions = {
  /** Bytes that are there already: the rest is asked for, and only if the file is still the same one (`If-Match`). */
  readonly offset?: number;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((doneBytes: number, totalBytes: number) => void) | undefined;
};

/**
 * The bytes of an adapter's file from `offset` on, as they come. They are not checked here: whoever keeps them checks the
 * whole, as {@link downloadFile} does. Errors: those of {@link request}; `precondition-failed` where the file has changed.
 */
export async function* fileChunks(
  connection: Connection,
  adapterId: string,
  file: Pick<AdapterFile, 'name' | 'bytes' | 'sha256'>,
  { offset = 0, signal, onProgress }: DownloadOptions = {},
): AsyncGenerator<Uint8Array, void, void> {
  const path = `/adapters/${encodeURIComponent(adapterId)}/${encodeURIComponent(file.name)}`;
  let done = offset;
  for (let empty = 0; done < file.bytes; empty++) {
    if (empty === MAX_EMPTY) throw new UnreachableError(`${file.name} breaks off again and again.`);
    if (empty > 0) await wait(RECONNECT_MS * empty, signal);
    const response = await request(connection, path, {
      headers: {
        'if-match': `"${file.sha256}"`,
        ...(done > 0 && { range: `bytes=${done}-` }),
      },
      signal,
    });
    if (done > 0 && response.status !== 206) {
      await response.body?.cancel();
      throw new DigestError(`${file.name} is not sent from its middle on: start anew.`);
    }
    const reader = response.body!.getReader();
    try {
      for (;;) {
        const { done: ended, value } = await reader.read();
        if (ended) break;
        empty = 0;
        done += value.length;
        if (done > file.bytes) throw new DigestError(`${file.name} is longer than the service says.`);
        onProgress?.(done, file.bytes);
        yield value;
      }
    } catch (error) {
      signal?.throwIfAborted();
      if (error instanceof DigestError || error instanceof ProblemError) throw error;
    } finally {
      await reader.cancel().catch(() => {});
    }
  }
}

/** A whole file in memory, its SHA-256 as the service says. Errors: {@link DigestError}, those of {@link fileChunks}. */
export async function downloadFile(
  connection: Connection,
  adapterId: string,
  file: Pick<AdapterFile, 'name' | 'bytes' | 'sha256'>,
  options: Omit<DownloadOptions, 'offset'> = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(file.bytes);
  let at = 0;
  for await (const chunk of fileChunks(connection, adapterId, file, options)) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  // Browsers have it on https and localhost alone.
  const digest = await globalThis.crypto.subtle.digest('SHA-256', bytes);
  if (toHex(new Uint8Array(digest)) !== file.sha256) {
    throw new DigestError(`${file.name} has another SHA-256 than the service says.`);
  }
  return bytes;
}

/** Bytes as lower-case hex. */
export function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
