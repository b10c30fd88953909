import type { FileHandle } from 'node:fs/promises';
import { modelErrors } from '../../../errors.ts';

/** `length` bytes of a file, in memory of their own. Errors: `checkpoint-invalid` when the file ends before. */
export async function readAt(
  file: FileHandle,
  position: number,
  length: number,
  options: { signal?: AbortSignal } = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(length);
  for (let done = 0; done < length; ) {
    options.signal?.throwIfAborted();
    const { bytesRead } = await file.read(bytes, done, length - done, position + done);
    if (bytesRead === 0) throw modelErrors.checkpoint('The file ends before its content does.');
    done += bytesRead;
  }
  return bytes;
}
