import { mkdir, rm, stat, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Sha256, sha256 } from '../../base/digest.ts';
import type { Bundle } from '../bundle.ts';
import { modelErrors } from '../errors.ts';
import { downloadFile } from '../hub/download-file.ts';
import type { BundleManifest } from '../manifest.ts';
import { MANIFEST_FILE } from '../manifest.ts';
import { openBundle, readBundleManifest } from '../open.ts';
import { MAX_MANIFEST_BYTES, parseManifest } from '../parse-manifest.ts';
import { publishDirectory, removeStale } from '../publish-directory.ts';
import type { BundleSource } from './bundle-source.ts';

/** What {@link fetchBundle} needs to know. */
export type FetchBundleOptions = {
  /** Directory that keeps bundles by their digest; several processes and machines may share it. */
  readonly cacheDirectory: string;
  /** The digest that the bundle must have. With it, a bundle that the cache has is not asked for at all. */
  readonly digest?: Sha256 | undefined;
  /** Fetches `bundle.json` and no other file: enough for a process that runs no model. */
  readonly manifestOnly?: boolean;
  readonly signal?: AbortSignal;
  /** Told how far the files are. */
  readonly onProgress?: (label: string, doneBytes: number, totalBytes: number) => void;
  readonly retryDelayMs?: number;
  /** Milliseconds since the epoch; decides which abandoned downloads are old enough to remove. */
  readonly now?: () => number;
};

/** A bundle in the cache, and whether it was there before. */
export type FetchedBundle = { readonly bundle: Bundle; readonly cached: boolean };

/** Subdirectory of the cache for manifests without the files they list. */
const MANIFESTS_DIRECTORY = 'manifests';
/** Prefix of hidden directories in which files arrive. */
const ARRIVING = '.arriving';
/** How long what a broken download left may be resumed: a week from the last file that was begun. */
const KEPT_MS = 7 * 24 * 60 * 60 * 1000;

/**
 * Brings a bundle into a cache, unless it is there: `<cache>/<digest>`, shown in one step once every file has the size and the
 * digest of the manifest and the graphs fit. What an interrupted call left is used by the next one. Processes that do the
 * same at the same time write the same bytes, and all succeed. `open` is called only where something has to be read.
 * Errors: those of the source, `bundle-invalid`, `bundle-schema-unknown`, `download-damaged`, `disk-full`.
 */
export async function fetchBundle(
  open: () => Promise<BundleSource>,
  options: FetchBundleOptions,
): Promise<FetchedBundle> {
  const { cacheDirectory, manifestOnly = false } = options;
  const parent = manifestOnly ? join(cacheDirectory, MANIFESTS_DIRECTORY) : cacheDirectory;
  if (options.digest !== undefined) {
    const bundle = await findCached(parent, options.digest);
    if (bundle) return { bundle, cached: true };
  }
  const source = await open();
  const bytes = await readManifestBytes(source);
  const digest = sha256(bytes);
  if (options.digest !== undefined && options.digest !== digest) {
    throw modelErrors.damaged(`The bundle’s digest is ${digest}, and ${options.digest} is asked for.`);
  }
  const found = await findCached(parent, digest);
  if (found) return { bundle: found, cached: true };

  const manifest = parseManifest(bytes);
  await mkdir(parent, { recursive: true });
  await removeStale(parent, ARRIVING, (options.now ?? Date.now)() - KEPT_MS);
  const building = join(parent, `${ARRIVING}_${digest}`);
  try {
    await mkdir(building, { recursive: true });
    await writeFile(join(building, MANIFEST_FILE), bytes, { flush: true });
    if (!manifestOnly) await fill(building, source, manifest, options);
    await publishDirectory(building, join(parent, digest), modelErrors.repository);
  } catch (error) {
    options.signal?.throwIfAborted();
    // Of two that do the same, the first to be done takes the directory away under the other.
    const other = await findCached(parent, digest);
    if (!other) throw error;
    await rm(building, { recursive: true, force: true });
    return { bundle: other, cached: true };
  }
  return { bundle: { directory: join(parent, digest), manifest, digest }, cached: false };
}

/** The bundle that a cache has by its digest. Its files were checked when they came, and are again when they are loaded. */
async function findCached(parent: string, digest: Sha256): Promise<Bundle | undefined> {
  const directory = join(parent, digest);
  if (!(await stat(directory).catch(() => undefined))) return undefined;
  const bundle = await readBundleManifest(directory);
  if (bundle.digest === digest) return bundle;
  throw modelErrors.invalid(`What the cache keeps as ${digest} is another bundle: remove that directory.`);
}

async function readManifestBytes(source: BundleSource): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of source.read(MANIFEST_FILE, { fromByte: 0 })) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes > MAX_MANIFEST_BYTES) {
      throw modelErrors.invalid(`${MANIFEST_FILE} is larger than ${MAX_MANIFEST_BYTES} bytes.`);
    }
  }
  return Buffer.concat(chunks);
}

async function fill(
  building: string,
  source: BundleSource,
  manifest: BundleManifest,
  { signal, onProgress, retryDelayMs }: FetchBundleOptions,
): Promise<void> {
  await checkRoom(building, manifest);
  const totalBytes = manifest.files.reduce((sum, { bytes }) => sum + bytes, 0);
  let before = 0;
  for (const { name, bytes, sha256: hex } of manifest.files) {
    signal?.throwIfAborted();
    await downloadFile(
      { read: ({ path }, from) => bounded(source.read(path, from), bytes - from.fromByte, path) },
      { path: name, bytes, digest: { algorithm: 'sha256', hex } },
      join(building, name),
      {
        ...(signal && { signal }),
        ...(retryDelayMs !== undefined && { retryDelayMs }),
        onBytes: (done) => onProgress?.(name, before + done, totalBytes),
      },
    );
    before += bytes;
  }
  let verified = 0;
  await openBundle(building, {
    ...(signal && { signal }),
    onBytes(count) {
      verified += count;
      onProgress?.('verification', verified, totalBytes);
    },
  });
}

/** What a source gives of a file, held to the size that the manifest says. */
async function* bounded(
  chunks: AsyncIterable<Uint8Array>,
  expectedBytes: number,
  name: string,
): AsyncGenerator<Uint8Array> {
  let left = expectedBytes;
  for await (const chunk of chunks) {
    left -= chunk.length;
    if (left < 0) throw modelErrors.sourceUnusable(`${name} is larger than the manifest says.`);
    yield chunk;
  }
  if (left > 0) throw modelErrors.sourceUnreachable(`${name} ended ${left} bytes early.`);
}

/** Refuses before gigabytes are fetched for nothing. */
async function checkRoom(building: string, { files }: BundleManifest): Promise<void> {
  let wanted = 0;
  for (const { name, bytes } of files) {
    const there = await stat(join(building, name)).then(
      ({ size }) => size,
      () => 0,
    );
    wanted += Math.max(0, bytes - there);
  }
  const { bavail, bsize } = await statfs(building);
  if (wanted > bavail * bsize) {
    throw modelErrors.diskFull(`${wanted} bytes are to come, and ${bavail * bsize} are free.`);
  }
}
