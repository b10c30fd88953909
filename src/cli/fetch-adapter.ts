/** An adapter's files from a running service into a directory. */
import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { sha256File } from '../base/digest.ts';
import type { Adapter, AdapterFile, Client } from '../client/client.ts';
import { createByteProgress } from './byte-progress.ts';
import { cliErrors } from './errors.ts';
import type { Output } from './output.ts';

/** A file's name as it may be in a directory of ours, whatever the service says. */
const FILE_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/;

/**
 * Fetches the files of an adapter, each whole and with the digest that the service tells. What is there already is not
 * fetched again; a file that broke off is taken up where it did, under `.NAME.DIGEST.part`. Answers the adapter's record.
 * Errors: `download-differs`, `output-occupied` for another file of the name, those of the client.
 */
export async function fetchAdapter(
  client: Client,
  id: string,
  { directory, output, signal }: { directory: string; output: Output; signal: AbortSignal },
): Promise<Adapter> {
  const adapter = await client.getAdapter(id, { signal });
  await mkdir(directory, { recursive: true });
  const bar = output.progress(id);
  const show = createByteProgress(bar);
  try {
    for (const file of adapter.files) {
      if (!FILE_NAME.test(file.name))
        throw cliErrors.damaged('The name of a file is none that is written here.');
      const path = join(directory, file.name);
      if (await isThere(path, file)) continue;
      await fetchFile(client, id, file, { path, directory, show, signal });
    }
    bar.update(1, 'verified');
  } finally {
    bar.stop();
  }
  return adapter;
}

/** True where the very file is there. Errors: `output-occupied` for another one. */
async function isThere(path: string, file: AdapterFile): Promise<boolean> {
  const there = await stat(path).catch(() => undefined);
  if (!there) return false;
  if (there.isFile() && there.size === file.bytes && (await sha256File(path)).sha256 === file.sha256)
    return true;
  throw cliErrors.output(`${path} is another file: take another directory, or remove it.`);
}

async function fetchFile(
  client: Client,
  id: string,
  file: AdapterFile,
  {
    path,
    directory,
    show,
    signal,
  }: {
    path: string;
    directory: string;
    show: (label: string, doneBytes: number, totalBytes: number) => void;
    signal: AbortSignal;
  },
): Promise<void> {
  const part = join(directory, `.${file.name}.${file.sha256.slice(0, 12)}.part`);
  const hash = createHash('sha256');
  const offset = await hashPart(part, hash, file.bytes);
  const handle = await open(part, offset > 0 ? 'a' : 'w');
  try {
    const chunks = client.downloadChunks(id, file, {
      offset,
      signal,
      onProgress: (done, total) => show(file.name, done, total),
    });
    for await (const chunk of chunks) {
      hash.update(chunk);
      await handle.write(chunk);
    }
    await handle.sync();
  } finally {
    await handle.close();
  }
  if (hash.digest('hex') !== file.sha256) {
    await rm(part, { force: true });
    throw cliErrors.damaged(
      `${file.name} has another SHA-256 than the service says; the next try begins anew.`,
    );
  }
  await rename(part, path);
}

/** Bytes of a part that is there, which the hash has then read; one that is too long is begun anew. */
async function hashPart(part: string, hash: Hash, bytes: number): Promise<number> {
  const size = (await stat(part).catch(() => undefined))?.size ?? 0;
  if (size === 0 || size > bytes) return 0;
  for await (const chunk of createReadStream(part)) hash.update(chunk as Buffer);
  return size;
}
