/** Small files that only the service's own user reads: replaced in one step, and read again when they have changed. */
import { randomUUID } from 'node:crypto';
import { mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

const FILE_MODE = 0o600;

/** The file's text and its {@link stampOfFile}, or undefined when there is no file. Errors: a RangeError for more than `maxBytes`. */
export async function readPrivateFile(
  path: string,
  maxBytes: number,
): Promise<{ text: string; stamp: string } | undefined> {
  try {
    const stamp = await stampOfFile(path);
    const { size } = await stat(path);
    if (size > maxBytes) throw new RangeError(`It has more than ${maxBytes} bytes.`);
    return { text: await readFile(path, 'utf8'), stamp };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Changes whenever the file does: it is replaced, never written in place, by us and by Kubernetes alike. */
export async function stampOfFile(path: string): Promise<string> {
  const { ino, mtimeMs, size } = await stat(path);
  return `${ino}.${mtimeMs}.${size}`;
}

/** Puts `text` in the file's place, mode 600, in one step: readers see the state before or the one after. */
export async function replacePrivateFile(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const draft = join(dirname(path), `.${basename(path)}.${randomUUID()}`);
  try {
    const handle = await open(draft, 'wx', FILE_MODE);
    try {
      await handle.writeFile(text);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(draft, path);
  } finally {
    await rm(draft, { force: true });
  }
}

/** Calls `onChange` whenever the file's stamp is another than `stamp` or the one seen last; one call at a time. */
export function watchFile(
  path: string,
  options: { stamp: string | undefined; pollMs: number; onChange: () => Promise<void> },
): { close(): Promise<void> } {
  const { stamp, pollMs, onChange } = options;
  const closing = new AbortController();
  const watch = async () => {
    let seen = stamp;
    for (;;) {
      await delay(pollMs, undefined, { signal: closing.signal });
      const current = await stampOfFile(path).catch(() => undefined);
      if (current === seen) continue;
      seen = current;
      await onChange();
    }
  };
  const watching = watch().catch(() => undefined);
  return {
    async close() {
      closing.abort();
      await watching;
    },
  };
}
