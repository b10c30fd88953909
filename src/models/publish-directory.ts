/** Directories that are built out of sight and then shown whole. */
import { open, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { ErrorFactory } from '../base/errors.ts';

/** Refuses a place where something is already; an empty directory is nothing. */
export async function refuseOccupied(out: string, refuse: ErrorFactory): Promise<void> {
  const entries = await readdir(out).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') return [];
    throw refuse('The directory to make exists and is no directory.', { cause });
  });
  if (entries.length > 0) throw refuse('The directory to make is not empty.');
}

/** Removes directories `{prefix}_…` of `parent` that nothing was added to since `olderThanMs` (milliseconds since the epoch). */
export async function removeStale(parent: string, prefix: string, olderThanMs: number): Promise<void> {
  for (const name of await readdir(parent)) {
    if (!name.startsWith(`${prefix}_`)) continue;
    const path = join(parent, name);
    // Whoever builds there may be done meanwhile and take it away.
    const status = await stat(path).catch(() => undefined);
    if (status && status.mtimeMs < olderThanMs) await rm(path, { recursive: true, force: true });
  }
}

/** Makes the finished directory visible under its name, in one step that survives a power cut. */
export async function publishDirectory(building: string, out: string, refuse: ErrorFactory): Promise<void> {
  await flushDirectory(building);
  // rename replaces an empty directory and, as POSIX says, no other.
  await rename(building, out).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code !== 'ENOTEMPTY' && cause.code !== 'EEXIST') throw cause;
    throw refuse('Another process has made the directory meanwhile.', { cause });
  });
  await flushDirectory(dirname(out));
}

async function flushDirectory(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
