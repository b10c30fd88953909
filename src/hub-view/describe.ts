/** What a Hub says of a repository, in the fields that its clients read. */
import type { StoredAdapter } from '../store/store.ts';
import type { Revision } from './find-revision.ts';
import { blobId, lfsPointer } from './git-objects.ts';
import { TAGS } from './model-card.ts';
import type { RepositoryFile } from './repository-files.ts';

/** A file as `tree` and `paths-info` list it. */
export type TreeEntry = {
  readonly type: 'file';
  readonly path: string;
  readonly size: number;
  /** The Git blob's id: that of the pointer where the file is in LFS. */
  readonly oid: string;
  readonly lfs?: { readonly oid: string; readonly size: number; readonly pointerSize: number };
  readonly lastCommit?: { readonly id: string; readonly title: string; readonly date: string };
};

const isoTime = (ms: number) => new Date(ms).toISOString();

/** Lists files; with `commit` each with what added it. Errors: `adapter-not-found`, `store-unavailable`. */
export async function describeFiles(
  files: readonly RepositoryFile[],
  commit?: Pick<Revision, 'commit' | 'adapter'>,
): Promise<TreeEntry[]> {
  const lastCommit = commit && {
    id: commit.commit,
    title: 'Add the adapter',
    date: isoTime(commit.adapter.createdAt),
  };
  return await Promise.all(
    files.map(async (file) => {
      const { path, bytes, sha256 } = file;
      const pointer = file.storage === 'lfs' ? lfsPointer(file) : undefined;
      return {
        type: 'file' as const,
        path,
        size: bytes,
        oid: pointer ? await blobId([pointer], pointer.length) : await blobId(await file.read(), bytes),
        ...(pointer && { lfs: { oid: sha256, size: bytes, pointerSize: pointer.length } }),
        ...(lastCommit && { lastCommit }),
      };
    }),
  );
}

/** The information of a model. `entries` adds size and digests to its files. */
export function describeModel(
  { repository, commit, adapter }: Revision,
  files: readonly RepositoryFile[],
  { isPrivate, entries }: { isPrivate: boolean; entries?: readonly TreeEntry[] },
) {
  const { baseModel } = adapter.info as { baseModel: string };
  const createdAt = isoTime(adapter.createdAt);
  return {
    _id: commit.slice(0, 24),
    id: repository,
    modelId: repository,
    author: repository.slice(0, repository.indexOf('/')),
    sha: commit,
    lastModified: createdAt,
    createdAt,
    private: isPrivate,
    gated: false as const,
    disabled: false as const,
    downloads: 0,
    likes: 0,
    library_name: 'peft',
    pipeline_tag: 'text-generation',
    tags: [...TAGS, `base_model:${baseModel}`, `base_model:adapter:${baseModel}`],
    cardData: { base_model: baseModel, library_name: 'peft', tags: [...TAGS] },
    siblings: files.map(({ path }) => ({ rfilename: path, ...siblingOf(path, entries) })),
    usedStorage: storageOf(adapter),
  };
}

function siblingOf(path: string, entries: readonly TreeEntry[] | undefined) {
  const entry = entries?.find((each) => each.path === path);
  if (!entry) return {};
  const { size, oid, lfs } = entry;
  return {
    size,
    blobId: oid,
    ...(lfs && { lfs: { sha256: lfs.oid, size: lfs.size, pointerSize: lfs.pointerSize } }),
  };
}

function storageOf({ files }: StoredAdapter): number {
  return files.reduce((sum, { bytes }) => sum + bytes, 0);
}
