import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { tryLock } from 'fs-native-extensions';
import { queueErrors } from './errors.ts';

/** A directory that only this process uses, until it closes the lock or ends. */
export type DirectoryLock = { close(): void };

/** The byte that SQLite locks of a database that it writes: releases before the package locked the same file with it. */
const LOCKED_BYTE = 2 ** 30 + 1;

/**
 * Takes an existing directory for this process, by a lock of the kernel on a file in it. Node has none of its own. The kernel
 * frees it however the owner ends, and it holds between containers that share the directory, where process ids
 * mean nothing. Errors: `data-directory-locked`, at once, with the owner's process id.
 */
export function lockDirectory(directory: string): DirectoryLock {
  const ownerFile = join(directory, 'lock-owner');
  let fd: number | undefined = openSync(join(directory, 'lock'), 'a+');
  const close = () => {
    if (fd !== undefined) closeSync(fd);
    fd = undefined;
  };
  try {
    if (!tryLock(fd, LOCKED_BYTE, 1)) {
      throw queueErrors.directoryLocked(
        `${ownerIn(ownerFile)} has it open. Stop that process, choose another data directory, or set QUEUE_URL to share a queue.`,
      );
    }
    writeFileSync(ownerFile, String(process.pid));
  } catch (error) {
    close();
    throw error;
  }
  return { close };
}

/** Read without the lock, so it may be missing or that of the owner before. */
function ownerIn(file: string): string {
  try {
    return `Process ${Number.parseInt(readFileSync(file, 'utf8'), 10)}`;
  } catch {
    return 'Another process';
  }
}
