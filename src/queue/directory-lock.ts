import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { queueErrors } from './errors.ts';

/** A directory that only this process uses, until it closes the lock or ends. */
export type DirectoryLock = { close(): void };

const SQLITE_BUSY = 5;

const isBusy = (error: unknown) =>
  error instanceof Error && 'errcode' in error && error.errcode === SQLITE_BUSY;

/**
 * Takes an existing directory for this process. Node has no file lock of its own, but the SQLite in it does: the kernel
 * frees its locks however the owner ends, and they hold between containers that share the directory, where process ids
 * mean nothing. Errors: `data-directory-locked`, at once, with the owner's process id.
 */
export function lockDirectory(directory: string): DirectoryLock {
  const database = new DatabaseSync(join(directory, 'lock'), { timeout: 0 });
  try {
    // Committed first, so that whoever comes second can read it; the lock proper is the transaction that stays open.
    database.exec(`BEGIN IMMEDIATE; PRAGMA user_version = ${process.pid}; COMMIT; BEGIN IMMEDIATE`);
  } catch (error) {
    const owner = isBusy(error)
      ? Number(database.prepare('PRAGMA user_version').get()?.user_version)
      : undefined;
    database.close();
    if (owner === undefined) throw error;
    throw queueErrors.directoryLocked(
      `Process ${owner} has it open. Stop that process, choose another data directory, or set QUEUE_URL to share a queue.`,
      { cause: error },
    );
  }
  return {
    close() {
      if (database.isOpen) database.close();
    },
  };
}
