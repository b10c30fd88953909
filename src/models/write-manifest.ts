import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { sha256File } from '../base/digest.ts';
import { type BundleFile, type BundleManifest, MANIFEST_FILE } from './manifest.ts';

/**
 * Writes `bundle.json` into a bundle directory, with size and digest of the named files as they lie there. The bytes
 * depend on the arguments and the files alone: no date, no host, no path. Files in `known` are not read again. `onBytes` is
 * told of every piece that was dealt with.
 */
export async function writeManifest(
  directory: string,
  facts: Omit<BundleManifest, 'files'>,
  names: readonly string[],
  options: {
    signal?: AbortSignal;
    known?: ReadonlyMap<string, Omit<BundleFile, 'name'>>;
    onBytes?: (bytes: number) => void;
  } = {},
): Promise<void> {
  const files: BundleFile[] = [];
  for (const name of [...names].sort()) {
    const known = options.known?.get(name);
    if (known) options.onBytes?.(known.bytes);
    files.push({ name, ...(known ?? (await sha256File(join(directory, name), options))) });
  }
  const { evaluation, ...rest } = facts;
  const manifest: BundleManifest = { ...rest, files, ...(evaluation ? { evaluation } : {}) };
  await writeFile(join(directory, MANIFEST_FILE), `${JSON.stringify(manifest, null, 2)}\n`, {
    flag: 'wx',
    flush: true,
  });
}
