import { sha256Json } from '../base/digest.ts';
import type { StoredAdapter } from './store.ts';

/**
 * The 40 hex digits that stand for an adapter as a Git commit stands for a state of a repository: the first half of a
 * SHA-256 over its id and the digests of its files. No two adapters have the same, not even copies with equal files.
 */
export function commitOf({ id, files }: Pick<StoredAdapter, 'id' | 'files'>): string {
  const digests = Object.fromEntries(files.map(({ name, sha256 }) => [name, sha256]));
  return sha256Json({ id, files: digests }).slice(0, 40);
}
