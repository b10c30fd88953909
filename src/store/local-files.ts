/** Steps on a file system from which a local store is made. */
import { createHash } from 'node:crypto';
import type { Stats } from 'node:fs';
import { copyFile, type FileHandle, link, open, readdir, rename, stat } from 'node:fs/promises';
import { hasCode, onFileSystem } from './file-system-errors.ts';
import { MAX_RECORD_BYTES } from './record.ts';
import type { StoredFile } from './store.ts';

/** Bytes a reader is handed at once. */
const READ_CHUNK_BYTES = 1 << 18;
/** Bytes written at once, where they come in smaller pieces: each write costs a trip to another thread. */
const WRITE_CHUNK_BYTES = 1 << 20;
/** Bytes after which what came so far goes to the medium while more comes: at the end there is little left to wait for. */
const FLUSH_BYTES = 16 << 20;

/** Writes a file durably; errors of `content` itself pass through as they are. */
export async function writeFile(
  path: string,
  name: string,
  content: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  signal?: AbortSignal,
): Promise<StoredFile> {
  const file = await onFileSystem(() => open(path, 'w'));
  try {
    const hash = createHash('sha256');
    let bytes = 0;
    let unflushedBytes = 0;
    let flush: Promise<void> | undefined;
    for await (const chunk of gather(content)) {
      signal?.throwIfAborted();
      // The write runs on another thread, so that hashing costs no time of its own.
      const written = onFileSystem(() => file.writeFile(chunk));
      hash.update(chunk);
      bytes += chunk.length;
      await written;
      unflushedBytes += chunk.length;
      if (unflushedBytes < FLUSH_BYTES) continue;
      unflushedBytes = 0;
      await onFileSystem(async () => flush);
      flush = file.datasync();
      // Awaited above or below, unless something else fails first.
      flush.catch(() => {});
    }
    // The system tells a failure once: what the last flush met, a sync after it would not.
    await onFileSystem(async () => flush);
    await onFileSystem(() => file.sync());
    return { name, bytes, sha256: hash.digest('hex') };
  } finally {
    await onFileSystem(() => file.close());
  }
}

/** The same bytes in pieces of at least {@link WRITE_CHUNK_BYTES}, the last one aside; a piece that is large enough is not copied. */
async function* gather(
  content: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  let pieces: Uint8Array[] = [];
  let bytes = 0;
  const joined = () => (pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces));
  for await (const piece of content) {
    // What was gathered before a large piece goes alone: joining them would copy both.
    if (bytes > 0 && piece.length >= WRITE_CHUNK_BYTES) {
      yield joined();
      pieces = [];
      bytes = 0;
    }
    pieces.push(piece);
    bytes += piece.length;
    if (bytes < WRITE_CHUNK_BYTES) continue;
    yield joined();
    pieces = [];
    bytes = 0;
  }
  if (bytes > 0) yield joined();
}

/** The bytes `start`…`end` that the file has, from the handle, which is closed at the end, on `return` and on failure. */
export function readFrom(
  file: FileHandle,
  start: number,
  end: number,
  signal: AbortSignal | undefined,
): AsyncIterableIterator<Uint8Array> {
  let position = start;
  let open = true;
  const close = async () => {
    if (!open) return;
    open = false;
    await file.close();
  };
  // Not a generator: one that was never begun would not close the handle when it is returned.
  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    async next() {
      if (!open) return { done: true, value: undefined };
      try {
        signal?.throwIfAborted();
        const length = Math.min(READ_CHUNK_BYTES, end - position + 1);
        if (length > 0) {
          const chunk = new Uint8Array(length);
          const { bytesRead } = await onFileSystem(() => file.read(chunk, 0, length, position));
          position += bytesRead;
          if (bytesRead > 0) return { done: false, value: chunk.subarray(0, bytesRead) };
        }
      } catch (error) {
        await close();
        throw error;
      }
      await close();
      return { done: true, value: undefined };
    },
    async return() {
      await close();
      return { done: true, value: undefined };
    },
  };
}

/** Makes what was done inside a directory durable. */
export async function sync(directory: string): Promise<void> {
  await using handle = await open(directory, 'r');
  await handle.sync();
}

/** Makes an empty file where there is none. */
export async function touch(path: string): Promise<void> {
  await using _ = await open(path, 'a');
}

/** Renames a directory; false when a directory with something in it has the name. */
export async function move(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to);
    return true;
  } catch (error) {
    if (hasCode(error, 'ENOTEMPTY', 'EEXIST')) return false;
    throw error;
  }
}

/** A second name for a file, or a copy where there are no hard links; false when the file is gone. */
export async function linkOrCopy(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return false;
    // File systems without hard links, or with too many on one file.
    if (!hasCode(error, 'EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'EMLINK', 'ENOSYS')) throw error;
    await copyFile(from, to);
    await using handle = await open(to, 'r+');
    await handle.sync();
    return true;
  }
}

/** A file to read, or undefined when there is none. */
export async function openIfThere(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, 'r');
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/** A whole file, empty when it is larger than a record may be; undefined when there is none. */
export async function readIfThere(path: string): Promise<Uint8Array | undefined> {
  await using handle = await openIfThere(path);
  if (!handle) return undefined;
  const { size } = await handle.stat();
  return size > MAX_RECORD_BYTES ? new Uint8Array(0) : await handle.readFile();
}

/** The names in a directory; none when it is not there. */
export async function listIfThere(path: string): Promise<string[]> {
  try {
    return await readdir(path);
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return [];
    throw error;
  }
}

/** Size and time of the last change of a file, undefined where there is none. */
export async function fileIfThere(path: string): Promise<Pick<Stats, 'size' | 'mtimeMs'> | undefined> {
  try {
    const facts = await stat(path);
    return facts.isFile() ? facts : undefined;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/** True for a path whose last change lies more than `maxAgeMs` before `now`; false when there is none. */
export async function isOlder(
  path: string,
  { maxAgeMs, now }: { maxAgeMs: number; now: number },
): Promise<boolean> {
  try {
    return now - (await stat(path)).mtimeMs > maxAgeMs;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return false;
    throw error;
  }
}
