/** Adapters as GGUF files on this machine, where llama.cpp opens them. */
import { createWriteStream } from 'node:fs';
import { mkdtemp, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Sha256 } from '../base/digest.ts';

/** An adapter that a question is asked with. */
export type ChatAdapter = {
  /** Two adapters of one key have the same bytes. */
  readonly key: Sha256;
  /** Its GGUF file. */
  read(options: { signal: AbortSignal }): Promise<AsyncIterable<Uint8Array>>;
};

/** The files. Whoever opened them closes them, which removes them all. */
export type AdapterFiles = {
  /** Path of an adapter's file, written on first use. Errors: those of reading. */
  path(adapter: ChatAdapter, options: { signal: AbortSignal }): Promise<string>;
  /** Removes all files but the one of the adapter `keep`. A process that has one open goes on reading it. */
  clear(keep?: Sha256): Promise<void>;
  close(): Promise<void>;
};

/** Keeps files in a directory of its own among the system's temporary ones, made on first use. */
export function openAdapterFiles(): AdapterFiles {
  let directory: Promise<string> | undefined;
  let names = 0;
  const known = new Map<string, string>();
  return {
    async path(adapter, options) {
      const before = known.get(adapter.key);
      if (before !== undefined) return before;
      directory ??= mkdtemp(join(tmpdir(), 'loradrop-chat-'));
      // Two questions may bring the same adapter at the same time, and one that comes again is another file than that which is being removed.
      const path = join(await directory, `${adapter.key}.${names++}.gguf`);
      const building = `${path}.part`;
      try {
        await pipeline(Readable.from(await adapter.read(options)), createWriteStream(building), options);
        await rename(building, path);
      } finally {
        await rm(building, { force: true });
      }
      const meanwhile = known.get(adapter.key);
      if (meanwhile !== undefined) {
        await rm(path, { force: true });
        return meanwhile;
      }
      known.set(adapter.key, path);
      return path;
    },
    async clear(keep) {
      const gone = [...known].filter(([key]) => key !== keep);
      for (const [key] of gone) known.delete(key);
      for (const [, path] of gone) await rm(path, { force: true });
    },
    async close() {
      known.clear();
      if (directory) await rm(await directory, { recursive: true, force: true });
    },
  };
}
