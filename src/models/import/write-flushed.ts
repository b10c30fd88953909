import { writeFile } from 'node:fs/promises';

/** Writes a file that must not exist, and flushes it to the disk. */
export async function writeFlushed(path: string, bytes: Uint8Array): Promise<void> {
  await writeFile(path, bytes, { flag: 'wx', flush: true });
}
