import { isId, isName } from '../base/ids.ts';
import { idOfRepository, readVersion } from '../base/repository-name.ts';
import { commitOf } from '../store/commit.ts';
import type { StoredAdapter, TenantStore } from '../store/store.ts';
import { hubViewErrors } from './errors.ts';

/** A state of a repository: one adapter, which the commit stands for. */
export type Revision = {
  /** `tenant/name` as the client wrote it. */
  readonly repository: string;
  readonly commit: string;
  readonly adapter: StoredAdapter;
};

/** The branch that every repository has, under the two names by which clients ask for it. */
const BRANCHES = new Set(['main', 'HEAD']);

/** The part of a store that is looked into. */
type Reader = Pick<TenantStore, 'find' | 'names'>;

/** Options of {@link findRevision}. */
export type FindRevisionOptions = {
  /** Whose repository is asked for. */
  readonly owner: string;
  readonly name: string;
  /** A branch or a commit. */
  readonly revision: string;
  /** Who asks. */
  readonly tenant: string;
  readonly now: () => number;
};

/**
 * The adapter that a revision of a repository stands for. A repository is looked for by name, then by an adapter's id.
 * Errors: `repository-not-found`, also for another tenant's; `revision-not-found`; `store-unavailable`.
 */
export async function findRevision(store: Reader, options: FindRevisionOptions): Promise<Revision> {
  const { owner, name, revision, tenant, now } = options;
  const repository = `${owner}/${name}`;
  const missing = () =>
    hubViewErrors.repositoryNotFound('You have no name and no adapter that is called so.');
  if (owner !== tenant) throw missing();
  const live = async (id: string) => {
    const adapter = await store.find(id);
    return adapter && adapter.expiresAt > now() ? adapter : undefined;
  };

  const named = isName(name) ? await store.names.find(name) : undefined;
  if (named) {
    const { current, history } = named;
    const wanted = BRANCHES.has(revision) ? current : history.find(({ commit }) => commit === revision);
    if (!wanted)
      throw hubViewErrors.revisionNotFound('The name has never stood for an adapter of this commit.');
    const adapter = await live(wanted.adapter);
    // An id may be free again and taken by another adapter, which the name has never stood for.
    if (!adapter || commitOf(adapter) !== wanted.commit) {
      throw hubViewErrors.revisionNotFound('The adapter of this revision was deleted or has expired.');
    }
    return { repository, commit: wanted.commit, adapter };
  }

  const { repository: plain, digits } = readVersion(name);
  const id = idOfRepository(plain);
  const adapter = isId(id) ? await live(id) : undefined;
  if (!adapter) throw missing();
  const commit = commitOf(adapter);
  if (digits !== undefined && !commit.startsWith(digits)) throw missing();
  if (!BRANCHES.has(revision) && revision !== commit) {
    throw hubViewErrors.revisionNotFound('An adapter has one commit, and this is another.');
  }
  return { repository, commit, adapter };
}
