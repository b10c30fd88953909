/** An adapter as one tar file. */
import { pipeline } from 'node:stream/promises';
import { type Pack, pack } from 'tar-stream';

/** A file to put into an archive. */
export type ArchiveFile = {
  readonly name: string;
  /** Exact size of what `read` gives. */
  readonly bytes: number;
  read(options: { signal?: AbortSignal }): Promise<AsyncIterable<Uint8Array>>;
};

/** An archive that can be streamed, with its exact length known beforehand. */
export type AdapterArchive = {
  readonly bytes: number;
  /**
   * The archive in bounded memory; every call opens the files anew. Errors: whatever reading a file throws, and an error
   * when a file has another size than announced.
   */
  stream(options?: { signal?: AbortSignal }): AsyncGenerator<Uint8Array, void, void>;
};

/** Size of a tar record: headers take one, contents fill whole ones, two empty ones end the archive (POSIX ustar). */
const RECORD_BYTES = 512;

/** Folder and file names whose path fits a plain header, one record long: 100 bytes for a name, more for its folder. */
const PLAIN_NAME = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$/;

/**
 * A tar with `files` in one folder named `folder`, the same bytes for the same files and time. Names have at most 100 of
 * `A–Z a–z 0–9 . _ -`. `modifiedAt` is in milliseconds since the epoch and kept in whole seconds.
 */
export function adapterArchive(
  folder: string,
  files: readonly ArchiveFile[],
  { modifiedAt }: { modifiedAt: number },
): AdapterArchive {
  for (const name of [folder, ...files.map((file) => file.name)]) {
    if (!PLAIN_NAME.test(name)) throw new TypeError(`${JSON.stringify(name)} is no name for an archive.`);
  }
  const records = files.reduce((sum, { bytes }) => sum + 1 + Math.ceil(bytes / RECORD_BYTES), 2);
  return {
    bytes: records * RECORD_BYTES,
    async *stream({ signal } = {}) {
      const archive = pack();
      const filled = fill(archive, folder, files, new Date(modifiedAt), signal).catch((error: Error) =>
        archive.destroy(error),
      );
      try {
        for await (const chunk of archive) yield chunk as Uint8Array;
      } finally {
        archive.destroy();
        await filled;
      }
    },
  };
}

async function fill(
  archive: Pack,
  folder: string,
  files: readonly ArchiveFile[],
  mtime: Date,
  signal: AbortSignal | undefined,
): Promise<void> {
  const options = signal ? { signal } : {};
  for (const { name, bytes, read } of files) {
    const content = await read(options);
    await pipeline(content, archive.entry({ name: `${folder}/${name}`, size: bytes, mtime }), options);
  }
  archive.finalize();
}
