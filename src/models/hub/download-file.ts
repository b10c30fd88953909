import { createHash, type Hash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { LoradropError } from '../../base/errors.ts';
import { modelErrors } from '../errors.ts';
import type { HubFile, HubRepository } from './open-repository.ts';

/** Where a file's bytes come from. */
type FileReader = Pick<HubRepository, 'read'>;

/** Bytes read at a time of what is there already. */
const READ_BYTES = 1 << 20;
/** Attempts in a row that bring nothing before it is given up: with doubling waits from one second, half a minute. */
const MAX_FRUITLESS = 5;
const RETRY_DELAY_MS = 1000;

/** Options of {@link downloadFile}. */
export type DownloadOptions = {
  readonly signal?: AbortSignal;
  /** Told how many bytes of the file are there, whenever that changes; it falls where a file has to be begun anew. */
  readonly onBytes?: (doneBytes: number) => void;
  /** Wait before a broken connection is tried again; it doubles with each attempt that brings nothing. */
  readonly retryDelayMs?: number;
};

/**
 * Completes a file on disk: what is there is kept, the rest is fetched, and all of it must have the digest that is expected. Two
 * processes may do so at once: both write the same bytes at the same places. Left alone in the middle, it can be called
 * again. Errors: those of reading, `download-damaged`, `disk-full`.
 */
export async function downloadFile(
  repository: FileReader,
  file: HubFile,
  path: string,
  options: DownloadOptions = {},
): Promise<void> {
  const handle = await open(path, constants.O_RDWR | constants.O_CREAT);
  try {
    let kept = await complete(handle, repository, file, options);
    // What an earlier process left may be damaged where it ended, in a power cut for instance.
    if (kept === 'resumed and damaged') kept = await complete(handle, repository, file, options, 0);
    if (kept !== 'whole') {
      throw modelErrors.damaged(`${file.path} does not have the digest that is expected.`);
    }
    await handle.sync();
  } catch (error) {
    throw diskFull(error);
  } finally {
    await handle.close();
  }
}

/**
 * One go, which keeps what is there up to `maxKeptBytes`. Nothing is ever cut off the file below its right length: another
 * process may have written it meanwhile, and would take it for written.
 */
async function complete(
  handle: FileHandle,
  repository: FileReader,
  file: HubFile,
  { signal, onBytes, retryDelayMs = RETRY_DELAY_MS }: DownloadOptions,
  maxKeptBytes = file.bytes,
): Promise<'whole' | 'damaged' | 'resumed and damaged'> {
  const { bytes, digest } = file;
  const hash = createHash(digest.algorithm === 'sha256' ? 'sha256' : 'sha1');
  if (digest.algorithm === 'git-sha1') hash.update(`blob ${bytes}\0`);
  if ((await handle.stat()).size > bytes) await handle.truncate(bytes);
  const found = await hashFound(handle, hash, maxKeptBytes, signal);
  let done = found;
  let fruitless = 0;
  onBytes?.(done);
  while (done < bytes) {
    const before = done;
    try {
      for await (const chunk of repository.read(file, { fromByte: done })) {
        await writeAll(handle, chunk, done);
        hash.update(chunk);
        done += chunk.length;
        onBytes?.(done);
      }
    } catch (error) {
      signal?.throwIfAborted();
      fruitless = done > before ? 0 : fruitless + 1;
      if (!(error instanceof LoradropError && error.retryable) || fruitless > MAX_FRUITLESS) throw error;
      await delay(retryDelayMs * 2 ** fruitless, undefined, signal ? { signal } : {}).catch(() => {
        // Its own error would not say why.
        signal?.throwIfAborted();
      });
    }
  }
  if (hash.digest('hex') === digest.hex) return 'whole';
  return found > 0 ? 'resumed and damaged' : 'damaged';
}

/** Hashes what the file has, at most `maxBytes`; returns how much that is. */
async function hashFound(
  handle: FileHandle,
  hash: Hash,
  maxBytes: number,
  signal: AbortSignal | undefined,
): Promise<number> {
  const buffer = new Uint8Array(READ_BYTES);
  let done = 0;
  while (done < maxBytes) {
    signal?.throwIfAborted();
    const { bytesRead } = await handle.read(buffer, 0, Math.min(buffer.length, maxBytes - done), done);
    if (bytesRead === 0) break;
    hash.update(buffer.subarray(0, bytesRead));
    done += bytesRead;
  }
  return done;
}

async function writeAll(handle: FileHandle, chunk: Uint8Array, position: number): Promise<void> {
  let written = 0;
  while (written < chunk.length) {
    const { bytesWritten } = await handle.write(chunk, written, chunk.length - written, position + written);
    written += bytesWritten;
  }
}

function diskFull(error: unknown): unknown {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  if (code !== 'ENOSPC' && code !== 'EDQUOT') return error;
  return modelErrors.diskFull(`The file system has no room left (${code}). What is there is kept.`, {
    cause: error,
  });
}
