/** What this program was built from, for `loradrop --version`. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { VERSION } from '../base/version.ts';

const ROOT = join(import.meta.dirname, '..', '..');
/** Written when the package is built; the sources have none. */
const STAMP = join(import.meta.dirname, '..', 'build.json');

/**
 * `0.1.0 (commit 0123456789ab, Node 24.21.0)`. The commit is that of the build, or for sources that of the checkout, with
 * `-dirty` where files differ from it; it is left out where nobody knows it.
 */
export function versionText(): string {
  const commit = existsSync(STAMP)
    ? (JSON.parse(readFileSync(STAMP, 'utf8')) as { commit: string | null }).commit
    : sourceCommit(ROOT);
  const parts = [...(commit === null ? [] : [`commit ${commit}`]), `Node ${process.versions.node}`];
  return `${VERSION} (${parts.join(', ')})`;
}

/** The commit that a directory is checked out at, 12 digits and perhaps `-dirty`, or null where git does not know. */
export function sourceCommit(root: string): string | null {
  // Otherwise git would look further up, and find a repository that merely has this one somewhere inside.
  if (!existsSync(join(root, '.git'))) return null;
  try {
    return execFileSync('git', ['describe', '--always', '--dirty', '--abbrev=12', '--exclude=*'], {
      cwd: root,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    return null;
  }
}
