/** One file of a repository on a Hub → a file on this machine. */
import { mkdir, rename, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { modelErrors } from '../errors.ts';
import { type HubAddress, parseHubAddress } from './address.ts';
import { downloadFile } from './download-file.ts';
import type { HubConnection } from './hub-fetch.ts';
import { type HubFile, openRepository } from './open-repository.ts';

/** A file of a repository. */
export type HubFileAddress = HubAddress & { readonly path: string };

/** Reads `hf://owner/name/path/file.gguf`, with `@revision` for another than main. Errors: `repository-unusable`. */
export function parseHubFileAddress(text: string): HubFileAddress {
  const [, repository, path, revision = ''] = /^(hf:\/\/[^/]+\/[^/@]+)\/([^@]+?)(@.+)?$/.exec(text) ?? [];
  if (repository === undefined || path === undefined) {
    throw modelErrors.repository('The address of a file is hf://owner/name/file, with @revision after it.');
  }
  return { ...parseHubAddress(`${repository}${revision}`), path };
}

/**
 * Downloads the file into a directory, under the last part of its path, and checks its digest. What is there already is not
 * fetched again; a download that was interrupted goes on where it stopped. Errors: those of {@link openRepository} and
 * {@link downloadFile}; `repository-unusable` where the repository has no such file, or another file has its name here.
 */
export async function pullFile(
  address: HubFileAddress,
  {
    directory,
    onProgress,
    ...connection
  }: HubConnection & {
    readonly directory: string;
    readonly onProgress?: (path: string, doneBytes: number, totalBytes: number) => void;
  },
): Promise<{
  readonly path: string;
  readonly file: HubFile;
  readonly commit: string;
  readonly cached: boolean;
}> {
  const repository = await openRepository(address, connection);
  const file = repository.files.find(({ path }) => path === address.path);
  if (!file) throw modelErrors.repository(`It has no file ${address.path}.`);
  const path = join(directory, basename(file.path));
  const { commit } = repository;
  const there = await stat(path).catch(() => undefined);
  if (there && there.size !== file.bytes) {
    throw modelErrors.repository(`Another file is called ${basename(file.path)} there: remove it first.`);
  }
  if (there) return { path, file, commit, cached: true };
  await mkdir(dirname(path), { recursive: true });
  // Only once it is whole does it have the ending by which bases are found.
  const building = join(directory, `.${basename(path)}.pulling`);
  await downloadFile(repository, file, building, {
    ...(connection.signal && { signal: connection.signal }),
    onBytes: (done) => onProgress?.(file.path, done, file.bytes),
  });
  await rename(building, path);
  return { path, file, commit, cached: false };
}
