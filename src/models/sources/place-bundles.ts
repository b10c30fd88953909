import { randomBytes } from 'node:crypto';
import { lstat, mkdir, readdir, readlink, rename, symlink, unlink } from 'node:fs/promises';
import { join, relative } from 'node:path';
import type { Bundle } from '../bundle.ts';
import { modelErrors } from '../errors.ts';
import { SUPERSEDED_DIRECTORY } from '../registry.ts';

/** Hexadecimal digits of a digest that tell the versions of one id apart. */
const SHORT_DIGEST = 12;

/**
 * Shows bundles of a cache in a bundles directory, each as a link under its id, and superseded ones below `superseded`. Each
 * link is put in place in one step. With `only`, links to other bundles are removed; what is no link is never touched.
 * Errors: `repository-unusable` where two bundles have one id, or something else has that name.
 */
export async function placeBundles(
  directory: string,
  {
    current,
    superseded = [],
    only = false,
  }: {
    readonly current: readonly Bundle[];
    readonly superseded?: readonly Bundle[];
    readonly only?: boolean;
  },
): Promise<void> {
  const earlier = join(directory, SUPERSEDED_DIRECTORY);
  await show(directory, current, ({ manifest }) => manifest.id, only);
  if (superseded.length === 0 && !(await lstat(earlier).catch(() => undefined))) return;
  const name = ({ manifest, digest }: Bundle) => `${manifest.id}-${digest.slice(0, SHORT_DIGEST)}`;
  await show(earlier, superseded, name, only);
}

async function show(
  directory: string,
  bundles: readonly Bundle[],
  nameOf: (bundle: Bundle) => string,
  only: boolean,
): Promise<void> {
  const wanted = new Map<string, string>();
  await mkdir(directory, { recursive: true });
  for (const bundle of bundles) {
    const name = nameOf(bundle);
    const target = relative(directory, bundle.directory);
    if ((wanted.get(name) ?? target) !== target) {
      throw modelErrors.repository(
        `Two bundles have the id ${bundle.manifest.id}; one of them can take jobs.`,
      );
    }
    wanted.set(name, target);
  }
  for (const [name, target] of wanted) {
    const path = join(directory, name);
    const there = await lstat(path).catch(() => undefined);
    if (there && !there.isSymbolicLink()) {
      throw modelErrors.repository(`The bundles directory has a ${name} of its own. Remove it first.`);
    }
    if (there && (await readlink(path)) === target) continue;
    const fresh = join(directory, `.link_${randomBytes(8).toString('hex')}`);
    await symlink(target, fresh);
    await rename(fresh, path);
  }
  if (!only) return;
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    if (entry.isSymbolicLink() && !wanted.has(entry.name)) await unlink(join(directory, entry.name));
  }
}
