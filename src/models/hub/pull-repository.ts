import { mkdir, readFile, stat, statfs } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { sha256Json } from '../../base/digest.ts';
import type { Bundle } from '../bundle.ts';
import { modelErrors } from '../errors.ts';
import { MANIFEST_FILE } from '../manifest.ts';
import { openBundle } from '../open.ts';
import { MAX_MANIFEST_BYTES, parseManifest } from '../parse-manifest.ts';
import { publishDirectory, refuseOccupied, removeStale } from '../publish-directory.ts';
import type { HubAddress } from './address.ts';
import { type DownloadOptions, downloadFile } from './download-file.ts';
import type { HubConnection } from './hub-fetch.ts';
import { type HubFile, type HubRepository, openRepository } from './open-repository.ts';
import { selectFiles } from './select-files.ts';

/** How far a pull is. */
export type PullProgress = {
  readonly step: 'download' | 'verification';
  /** The file that is on its way, during `download`. */
  readonly path?: string;
  readonly doneBytes: number;
  readonly totalBytes: number;
};

/** What {@link pullRepository} needs to know. */
export type PullOptions = Omit<HubConnection, 'signal'> & {
  readonly address: HubAddress;
  /** Where a bundle goes, into a directory of the repository's name, when `out` is not given. */
  readonly bundlesDirectory: string;
  /** The directory to make; must not exist yet, or be empty. */
  readonly out?: string;
  /** Patterns of the files to take, in place of what {@link selectFiles} takes by itself; a bundle is then not one any more. */
  readonly include?: readonly string[];
  readonly onProgress?: (progress: PullProgress) => void;
  readonly signal?: AbortSignal;
  readonly retryDelayMs?: number;
  /** Bytes that the file system of a directory has left. */
  readonly freeBytes?: (directory: string) => Promise<number>;
  /** Milliseconds since the epoch; decides which abandoned pulls are old enough to remove. */
  readonly now?: () => number;
};

/** What a pull brought. */
export type Pulled = {
  readonly directory: string;
  readonly commit: string;
  readonly files: readonly HubFile[];
  /** Where the repository is one. */
  readonly bundle: Bundle | undefined;
};

/** How long what a broken pull left may be resumed: a week from the last file that was begun. */
const KEPT_MS = 7 * 24 * 60 * 60 * 1000;

/**
 * Downloads a repository at the commit its revision is now. A bundle (it has a `bundle.json`) is taken as its manifest lists
 * it, and verified; of anything else the files an import wants. All of it lies in a hidden directory beside its place until
 * it is complete, and is renamed in one step; a pull that ends early leaves that directory, and the next one of the same
 * files goes on from there. Errors: `repository-unusable`, `hub-unreachable`, `hub-refused`, `hub-not-found`,
 * `hub-answer-invalid`, `download-damaged`, `disk-full`; for a bundle those of {@link openBundle}.
 */
export async function pullRepository(options: PullOptions): Promise<Pulled> {
  const { address, include } = options;
  const repository = await openRepository(address, options);
  const manifestFile = include ? undefined : repository.files.find(({ path }) => path === MANIFEST_FILE);
  const out = placeOf(options, manifestFile !== undefined);
  await refuseOccupied(out, modelErrors.repository);
  const selected = manifestFile ? [] : selectFiles(repository.files, include);
  await mkdir(dirname(out), { recursive: true });
  const prefix = `.${basename(out)}.pulling`;
  await removeStale(dirname(out), prefix, (options.now ?? Date.now)() - KEPT_MS);
  const building = join(dirname(out), `${prefix}_${stateName(repository.commit, selected)}`);
  await mkdir(building, { recursive: true });

  try {
    const files = manifestFile
      ? [manifestFile, ...(await listedFiles(repository, manifestFile, building, options))]
      : selected;
    const bundle = await fill(building, repository, files, options, manifestFile !== undefined);
    await publishDirectory(building, out, modelErrors.repository);
    return {
      directory: out,
      commit: repository.commit,
      files,
      bundle: bundle && { ...bundle, directory: out },
    };
  } catch (cause) {
    // Two may build at once, since they write the same; then the first to be done takes the directory away.
    if (!(cause instanceof Error && 'code' in cause && cause.code === 'ENOENT')) throw cause;
    throw modelErrors.repository('Another process has pulled it meanwhile, or its directory was removed.', {
      cause,
    });
  }
}

/** Downloads the files into the directory, and opens it where it is a bundle. */
async function fill(
  building: string,
  repository: HubRepository,
  files: readonly HubFile[],
  options: PullOptions,
  isBundle: boolean,
): Promise<Bundle | undefined> {
  const { signal, onProgress } = options;
  await checkRoom(building, files, options.freeBytes);
  const totalBytes = files.reduce((sum, { bytes }) => sum + bytes, 0);
  let before = 0;
  for (const file of files) {
    signal?.throwIfAborted();
    const path = join(building, file.path);
    await mkdir(dirname(path), { recursive: true });
    await downloadFile(repository, file, path, {
      ...downloadOptions(options),
      onBytes: (bytes) =>
        onProgress?.({ step: 'download', path: file.path, doneBytes: before + bytes, totalBytes }),
    });
    before += file.bytes;
  }
  if (!isBundle) return undefined;
  let doneBytes = 0;
  return openBundle(building, {
    ...(signal && { signal }),
    onBytes(bytes) {
      doneBytes += bytes;
      onProgress?.({ step: 'verification', doneBytes, totalBytes });
    },
  });
}

function downloadOptions({ signal, retryDelayMs }: PullOptions): DownloadOptions {
  return { ...(signal && { signal }), ...(retryDelayMs !== undefined && { retryDelayMs }) };
}

function placeOf({ address, out, bundlesDirectory }: PullOptions, isBundle: boolean): string {
  if (out !== undefined) return resolve(out);
  if (isBundle) return resolve(bundlesDirectory, basename(address.repository));
  throw modelErrors.repository('It is not a bundle: say with --out which directory its files go to.');
}

/** The same for what can be resumed, and for nothing else. */
function stateName(commit: string, files: readonly HubFile[]): string {
  return sha256Json([commit, ...files.map(({ path }) => path)]).slice(0, 20);
}

/** The files that the manifest of a bundle lists, as the repository has them. */
async function listedFiles(
  repository: HubRepository,
  manifestFile: HubFile,
  building: string,
  options: PullOptions,
): Promise<HubFile[]> {
  if (manifestFile.bytes > MAX_MANIFEST_BYTES) {
    throw modelErrors.invalid(`${MANIFEST_FILE} is larger than ${MAX_MANIFEST_BYTES} bytes.`);
  }
  const path = join(building, MANIFEST_FILE);
  await downloadFile(repository, manifestFile, path, downloadOptions(options));
  const { files } = parseManifest(await readFile(path));
  const listed = files.map(({ name, bytes }) => {
    const file = repository.files.find((candidate) => candidate.path === name);
    if (!file) throw modelErrors.invalid(`${name} is missing.`);
    if (file.bytes !== bytes) {
      throw modelErrors.invalid(`${name} has ${file.bytes} bytes, the manifest says ${bytes}.`);
    }
    return file;
  });
  return selectFiles(listed, ['*']);
}

/** Refuses before gigabytes are fetched for nothing. */
async function checkRoom(
  building: string,
  files: readonly HubFile[],
  freeBytes = freeBytesOf,
): Promise<void> {
  let wanted = 0;
  for (const { path, bytes } of files) {
    const there = await stat(join(building, path)).then(
      ({ size }) => size,
      () => 0,
    );
    wanted += Math.max(0, bytes - there);
  }
  const free = await freeBytes(building);
  if (wanted > free) throw modelErrors.diskFull(`${wanted} bytes are to come, and ${free} are free.`);
}

async function freeBytesOf(directory: string): Promise<number> {
  const { bavail, bsize } = await statfs(directory);
  return bavail * bsize;
}
