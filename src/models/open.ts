import { lstat, readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { sha256, sha256File } from '../base/digest.ts';
import type { Bundle } from './bundle.ts';
import { modelErrors } from './errors.ts';
import { checkGraphs } from './import/check-graphs.ts';
import { suppliedGraphs } from './import/dnd/matrices-graph.ts';
import { type BundleManifest, MANIFEST_FILE } from './manifest.ts';
import { roleFiles } from './manifest-agreement.ts';
import { MAX_MANIFEST_BYTES, parseManifest } from './parse-manifest.ts';
import type { VerifiedFiles } from './verified-files.ts';

/** How a bundle is opened. */
export type OpenOptions = {
  readonly signal?: AbortSignal;
  /** Told of every piece that was hashed, or need not be. */
  readonly onBytes?: (bytes: number) => void;
  /** Files that need not be hashed; without it all are. */
  readonly verified?: VerifiedFiles;
};

/**
 * Opens a bundle directory and verifies all of it: the manifest, the size and digest of every file, the interface of every
 * graph. A bundle of version 1 is opened as version 2 describes it, with the graphs that it lacks; its digest stays. Files the manifest does not list are ignored, since nothing
 * refers to them. Errors: `bundle-schema-unknown`; `bundle-invalid` naming the file and the reason.
 */
export async function openBundle(directory: string, options: OpenOptions = {}): Promise<Bundle> {
  const root = resolve(directory);
  const manifestBytes = await readManifest(root);
  const manifest = parseManifest(manifestBytes);
  // Sizes first: they cost nothing and tell of a copy that was cut short before gigabytes are hashed.
  for (const file of manifest.files) await checkSize(root, file);
  for (const file of manifest.files) await checkDigest(root, file, options);
  const supplied = suppliedGraphs(manifest);
  const dataFiles = await checkGraphs({ directory: root, manifest, ...(supplied && { supplied }) }, options);
  const used = new Set([...roleFiles(manifest), ...dataFiles]);
  const unused = manifest.files.find(({ name }) => !used.has(name));
  if (unused) throw modelErrors.invalid(`${unused.name} is listed, but no part of the bundle uses it.`);
  return { directory: root, manifest, digest: sha256(manifestBytes), ...(supplied && { supplied }) };
}

/**
 * Opens a bundle directory by its manifest alone. Nothing else of it is read, so it may hold nothing else, or damaged files.
 * Errors: `bundle-schema-unknown`; `bundle-invalid`.
 */
export async function readBundleManifest(directory: string): Promise<Bundle> {
  const root = resolve(directory);
  const bytes = await readManifest(root);
  return { directory: root, manifest: parseManifest(bytes), digest: sha256(bytes) };
}

async function readManifest(root: string): Promise<Uint8Array> {
  const bytes = await regularFileBytes(root, MANIFEST_FILE);
  if (bytes > MAX_MANIFEST_BYTES) {
    throw modelErrors.invalid(`${MANIFEST_FILE} is larger than ${MAX_MANIFEST_BYTES} bytes.`);
  }
  return readFile(join(root, MANIFEST_FILE));
}

/** Size of a regular file of the bundle. A link is refused, since it could lead out of the directory. */
async function regularFileBytes(root: string, name: string): Promise<number> {
  const status = await lstat(join(root, name)).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT' || cause.code === 'ENOTDIR') {
      throw modelErrors.invalid(`${name} is missing.`, { cause });
    }
    throw modelErrors.invalid(`${name} cannot be read (${cause.code}).`, { cause });
  });
  if (!status.isFile()) throw modelErrors.invalid(`${name} is not a regular file.`);
  return status.size;
}

async function checkSize(root: string, { name, bytes }: BundleManifest['files'][number]): Promise<void> {
  const found = await regularFileBytes(root, name);
  if (found !== bytes) throw modelErrors.invalid(`${name} has ${found} bytes, the manifest says ${bytes}.`);
}

async function checkDigest(
  root: string,
  { name, bytes, sha256: expected }: BundleManifest['files'][number],
  { verified, ...options }: OpenOptions,
): Promise<void> {
  const path = join(root, name);
  if (await verified?.isKnown(path, expected)) {
    options.onBytes?.(bytes);
    return;
  }
  const verify = async () => {
    const { sha256: found } = await sha256File(path, options);
    if (found !== expected) throw modelErrors.invalid(`${name} does not have the digest the manifest says.`);
  };
  await (verified ? verified.remember(path, expected, verify) : verify());
}
