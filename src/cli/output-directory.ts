/** A directory that a command makes: whole under its name, or not there. */
import { createWriteStream } from 'node:fs';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { newId } from '../base/ids.ts';
import { cliErrors } from './errors.ts';

/** A directory in the making. Disposing of it removes what was not published. */
export type OutputDirectory = AsyncDisposable & {
  /** Where files go meanwhile, beside the final place. */
  readonly path: string;
  /** Gives it its name. */
  publish(): Promise<void>;
};

/** Begins a directory that will be `out`. Errors: `output-occupied` when something is there already. */
export async function openOutputDirectory(out: string): Promise<OutputDirectory> {
  const target = resolve(out);
  const occupied = await readdir(target).then(
    (names) => names.length > 0,
    (error: NodeJS.ErrnoException) => error.code !== 'ENOENT',
  );
  if (occupied) throw cliErrors.output(`${out} exists and is not an empty directory.`);
  const path = join(dirname(target), `.${basename(target)}.${newId('making')}`);
  await mkdir(path, { recursive: true });
  return {
    path,
    publish: () => rename(path, target),
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }),
  };
}

/** Writes a new file to the disk, through to the medium. */
export async function writeOutputFile(
  path: string,
  content: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<void> {
  await pipeline(content, createWriteStream(path, { flush: true, flags: 'wx' }), { signal });
}
