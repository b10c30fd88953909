import { readdir, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Sha256 } from '../base/digest.ts';
import { toLoradropError } from '../base/errors.ts';
import type { Bundle } from './bundle.ts';
import { modelErrors } from './errors.ts';
import { MANIFEST_FILE } from './manifest.ts';
import { openBundle, readBundleManifest } from './open.ts';
import type { VerifiedFiles } from './verified-files.ts';

/** A directory that looks like a bundle but cannot be used, and why; `name` is the directory's own name. */
export type ModelProblem = { readonly name: string; readonly reason: string };

/** Subdirectory of a bundles directory: bundles that take no new jobs and finish those they were accepted for. */
export const SUPERSEDED_DIRECTORY = 'superseded';

/** The bundles of a directory. */
export type ModelRegistry = {
  /** Those that take new jobs, by id, ascending. */
  list(): readonly Bundle[];
  /** The one of these with that id. Errors: `model-not-found`. */
  get(id: string): Bundle;
  /** The bundle with this digest, superseded ones among them; undefined where there is none. */
  withDigest(digest: string): Bundle | undefined;
  /** The bundle for requests that name none: the configured one, else the only one, else undefined. */
  default(): Bundle | undefined;
  readonly problems: readonly ModelProblem[];
};

/**
 * Opens every bundle below a directory: each subdirectory that has a `bundle.json`, whatever it is called, hidden ones left
 * out. A broken bundle does not stop the others: it is listed in `problems`, as is a configured default that is not there.
 * Where there is no such subdirectory, or no directory, the bundle in `fallback` is the only one; without it there is none.
 * Bundles in the subdirectory `superseded` may have ids that others have: they are found by their digest alone.
 */
export async function openModelRegistry(options: {
  directory: string;
  /** Directory of one bundle. A broken bundle in `directory` keeps it out: nobody should be served another in its place. */
  fallback?: string;
  defaultId?: string;
  /** Reads the manifests and no other file, which then need not be there: enough for a process that runs no model. */
  manifestsOnly?: boolean;
  signal?: AbortSignal;
  onBytes?: (bytes: number) => void;
  /** Files that need not be hashed; what is hashed now joins them. */
  verified?: VerifiedFiles;
}): Promise<ModelRegistry> {
  const bundles = new Map<string, Bundle>();
  const problems: ModelProblem[] = [];
  const places = (await bundleDirectories(options.directory)).map((name) => join(options.directory, name));
  if (places.length === 0 && options.fallback !== undefined) places.push(options.fallback);
  const open = options.manifestsOnly ? readBundleManifest : openBundle;
  for (const place of places) {
    try {
      const bundle = await open(place, options);
      const { id } = bundle.manifest;
      if (bundles.has(id)) throw modelErrors.invalid(`Another bundle has the id ${id} already.`);
      bundles.set(id, bundle);
    } catch (error) {
      options.signal?.throwIfAborted();
      problems.push({ name: basename(place), reason: toLoradropError(error).message });
    }
  }
  const byDigest = new Map([...bundles.values()].map((bundle) => [bundle.digest, bundle]));
  const earlier = join(options.directory, SUPERSEDED_DIRECTORY);
  for (const name of await bundleDirectories(earlier)) {
    try {
      const bundle = await open(join(earlier, name), options);
      if (!byDigest.has(bundle.digest)) byDigest.set(bundle.digest, bundle);
    } catch (error) {
      options.signal?.throwIfAborted();
      problems.push({ name: `${SUPERSEDED_DIRECTORY}/${name}`, reason: toLoradropError(error).message });
    }
  }
  await options.verified?.save();
  const { defaultId } = options;
  if (defaultId !== undefined && !bundles.has(defaultId)) {
    problems.push({
      name: defaultId,
      reason: 'It is set as the default model, but there is no such bundle.',
    });
  }
  const sorted = [...bundles.values()].sort((a, b) => (a.manifest.id < b.manifest.id ? -1 : 1));
  return {
    list: () => sorted,
    withDigest: (digest) => byDigest.get(digest as Sha256),
    get(id) {
      const bundle = bundles.get(id);
      if (!bundle) throw modelErrors.unknown('No model has this id.');
      return bundle;
    },
    default() {
      if (defaultId !== undefined) return bundles.get(defaultId);
      return sorted.length === 1 ? sorted[0] : undefined;
    },
    problems,
  };
}

async function bundleDirectories(directory: string): Promise<string[]> {
  const entries = await readdir(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  const found: string[] = [];
  for (const name of entries.sort()) {
    // Hidden directories hold imports under way.
    if (name.startsWith('.')) continue;
    const manifest = await stat(join(directory, name, MANIFEST_FILE)).catch(() => undefined);
    if (manifest) found.push(name);
  }
  return found;
}
