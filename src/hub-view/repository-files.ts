import { type Sha256, sha256 } from '../base/digest.ts';
import type { ByteRange, StoredAdapter, StoredFile, TenantStore } from '../store/store.ts';
import { lfsPointer } from './git-objects.ts';
import { renderModelCard } from './model-card.ts';

/** A file of a repository. */
export type RepositoryFile = {
  readonly path: string;
  readonly bytes: number;
  readonly sha256: Sha256;
  readonly mediaType: string;
  /** How a Hub would keep it: what Git keeps is text that is read as a whole, what LFS keeps may be large. */
  readonly storage: 'git' | 'lfs';
  /** Its bytes, or a range of them. Errors: `adapter-not-found`, `store-unavailable`. */
  read(options?: { range?: ByteRange; signal?: AbortSignal }): Promise<AsyncIterable<Uint8Array>>;
};

/** What reads an adapter's files. */
type Reader = Pick<TenantStore, 'read'>;

/**
 * The files of an adapter's repository in alphabetical order: those that are stored, and the model card, which is made
 * anew each time and has the same bytes each time. Another file that is made of an adapter has its place beside the card.
 */
export function repositoryFiles(store: Reader, adapter: StoredAdapter): readonly RepositoryFile[] {
  const files = [
    ...adapter.files.map((file) => storedFile(store, adapter.id, file)),
    madeFile('README.md', 'text/markdown; charset=utf-8', new TextEncoder().encode(renderModelCard(adapter))),
  ];
  return files.sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** The file as Git itself has it: of one in LFS the pointer, all others as they are. */
export function rawFile(file: RepositoryFile): RepositoryFile {
  return file.storage === 'lfs' ? madeFile(file.path, 'text/plain; charset=utf-8', lfsPointer(file)) : file;
}

function storedFile(store: Reader, id: string, { name, bytes, sha256 }: StoredFile): RepositoryFile {
  const isJson = name.endsWith('.json');
  return {
    path: name,
    bytes,
    sha256,
    mediaType: isJson ? 'application/json' : 'application/octet-stream',
    storage: isJson ? 'git' : 'lfs',
    read: (options) => store.read(id, name, options),
  };
}

function madeFile(path: string, mediaType: string, content: Uint8Array): RepositoryFile {
  return {
    path,
    bytes: content.length,
    sha256: sha256(content),
    mediaType,
    storage: 'git',
    async read({ range } = {}) {
      return onePiece(range ? content.subarray(range.start, range.end + 1) : content);
    },
  };
}

async function* onePiece(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
