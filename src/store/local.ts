/** Adapters in a directory, each in one that PEFT and vLLM open as it is. */
import { createHash } from 'node:crypto';
import {
  copyFile,
  type FileHandle,
  link,
  mkdir,
  open,
  readdir,
  rename,
  rm,
  rmdir,
  stat,
} from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Sha256 } from '../base/digest.ts';
import { isId } from '../base/ids.ts';
import { currentOwner, type DraftOwner, draftName, ownerLives } from './draft-owner.ts';
import { storeErrors } from './errors.ts';
import { hasCode, onFileSystem } from './file-system-errors.ts';
import { decodeRecord, encodeRecord, isStoredFileName, MAX_RECORD_BYTES, RECORD_FILE } from './record.ts';
import type { AdapterDraft, AdapterStore, ByteRange, StoredAdapter, StoredFile } from './store.ts';

/** Age at which a draft of another machine counts as left over: drafts live for seconds, rarely for minutes. */
export const FOREIGN_DRAFT_MAX_AGE_MS = 24 * 60 * 60 * 1000;
/** Bytes written at once: an adapter comes in hundreds of small matrices, and each write costs a trip to another thread. */
const WRITE_CHUNK_BYTES = 1 << 20;
/** Bytes a reader is handed at once. */
const READ_CHUNK_BYTES = 1 << 18;
/** What `ready` writes: a whole page, so that a full file system shows. */
const PROBE_BYTES = 4096;
/** Rounds of `publish` against others that publish and remove the same id meanwhile; one is enough in peace. */
const MAX_PUBLISH_ROUNDS = 8;
/** An adapter directory whose record cannot be used. */
const DAMAGED = 'damaged';
/** Digits of a time in milliseconds as the expiry index writes it, so that names sort by time. */
const TIME_DIGITS = 15;

/**
 * Opens a store in `directory`, which is made when missing, and removes what dead processes left half-written. Several
 * processes may have the same directory open. On disk:
 *
 *     adapters/<id>/                      the adapter: its files and adapter.json, the record
 *     .drafts/<owner>-<random>/           being written or being removed; never read
 *     .content/<content key>/<id>         empty: finds adapters of equal content
 *     .expiry/<milliseconds>.<id>         empty: finds adapters to remove
 *
 * The two indexes are hints: every hit is checked against the record, and an entry that leads nowhere is dropped.
 * Errors: `store-unavailable`, `store-full`.
 */
export async function openLocalStore({
  directory,
  now = Date.now,
}: {
  directory: string;
  now?: () => number;
}): Promise<AdapterStore> {
  const store = new LocalStore(resolve(directory), await currentOwner(), now);
  await store.prepare();
  return store;
}

class LocalStore implements AdapterStore {
  readonly #adapters: string;
  readonly #drafts: string;
  readonly #content: string;
  readonly #expiry: string;
  readonly #owner: DraftOwner;
  readonly #now: () => number;
  readonly #openDrafts = new Set<AdapterDraft>();

  constructor(root: string, owner: DraftOwner, now: () => number) {
    this.#adapters = join(root, 'adapters');
    this.#drafts = join(root, '.drafts');
    this.#content = join(root, '.content');
    this.#expiry = join(root, '.expiry');
    this.#owner = owner;
    this.#now = now;
  }

  async prepare(): Promise<void> {
    await onFileSystem(async () => {
      for (const path of [this.#adapters, this.#drafts, this.#content, this.#expiry]) {
        await mkdir(path, { recursive: true });
      }
    });
    await this.#removeLeftovers();
  }

  async draft(id: string): Promise<AdapterDraft> {
    if (!isId(id)) throw new TypeError('An adapter id has the form of an id.');
    const directory = await this.#makeDraft();
    const files = new Map<string, StoredFile>();
    let publishing: Promise<StoredAdapter> | undefined;
    const draft: AdapterDraft = {
      write: async (name, content, { signal } = {}) => {
        if (!isStoredFileName(name)) throw new TypeError(`${JSON.stringify(name)} is no name for a file.`);
        const file = await writeFile(join(directory, name), name, content, signal);
        files.set(name, file);
        return file;
      },
      publish: async (record) => {
        publishing ??= this.#publish(directory, { ...record, id, files: [...files.values()] });
        const adapter = await publishing;
        this.#openDrafts.delete(draft);
        return adapter;
      },
      discard: async () => {
        this.#openDrafts.delete(draft);
        // Files must not vanish one by one from a directory that is about to show.
        const published = await publishing?.catch(() => undefined);
        if (!published) await onFileSystem(() => rm(directory, { recursive: true, force: true }));
      },
    };
    this.#openDrafts.add(draft);
    return draft;
  }

  async #makeDraft(): Promise<string> {
    const directory = join(this.#drafts, draftName(this.#owner));
    await onFileSystem(() => mkdir(directory));
    return directory;
  }

  /** Gives a finished draft its place; when another has it, drops the draft and returns what is there. */
  async #publish(draft: string, record: StoredAdapter): Promise<StoredAdapter> {
    await writeFile(join(draft, RECORD_FILE), RECORD_FILE, [encodeRecord(record)]);
    await onFileSystem(() => sync(draft));
    // Before the adapter shows, so that no crash leaves one that never expires.
    await onFileSystem(async () => {
      await touch(join(this.#expiry, expiryName(record.expiresAt, record.id)));
      await sync(this.#expiry);
    });
    for (let round = 0; round < MAX_PUBLISH_ROUNDS; round++) {
      const moved = await onFileSystem(() => move(draft, this.#path(record.id)));
      if (moved) {
        await onFileSystem(() => sync(this.#adapters));
        // The adapter is there already: without this hint an equal one would be made anew, no more.
        await this.#remember(record).catch(() => undefined);
        return record;
      }
      const winner = await this.find(record.id);
      if (winner) {
        await onFileSystem(() => rm(draft, { recursive: true, force: true }));
        return winner;
      }
    }
    throw storeErrors.unavailable(`The place of ${record.id} is taken by something that is not an adapter.`);
  }

  async #remember({ contentKey, id }: StoredAdapter): Promise<void> {
    await mkdir(join(this.#content, contentKey), { recursive: true });
    await touch(join(this.#content, contentKey, id));
  }

  async #forget(contentKey: Sha256, id: string): Promise<void> {
    const directory = join(this.#content, contentKey);
    await rm(join(directory, id), { force: true });
    // Fails while it has other entries, as it should.
    await rmdir(directory).catch(() => undefined);
  }

  async find(id: string): Promise<StoredAdapter | undefined> {
    const record = await this.#lookUp(id);
    if (record === DAMAGED) throw storeErrors.unavailable(`The record of ${id} is damaged.`);
    return record;
  }

  async #lookUp(id: string): Promise<StoredAdapter | typeof DAMAGED | undefined> {
    if (!isId(id)) return undefined;
    const bytes = await onFileSystem(() => readIfThere(join(this.#path(id), RECORD_FILE)));
    if (!bytes) return undefined;
    const record = decodeRecord(bytes);
    return record?.id === id ? record : DAMAGED;
  }

  async findByContent(contentKey: Sha256): Promise<StoredAdapter | undefined> {
    if (!/^[0-9a-f]{64}$/.test(contentKey)) return undefined;
    for (const id of await onFileSystem(() => listIfThere(join(this.#content, contentKey)))) {
      const record = await this.#lookUp(id);
      if (record && record !== DAMAGED && record.contentKey === contentKey && (await this.#isWhole(record))) {
        return record;
      }
      await onFileSystem(() => this.#forget(contentKey, id));
    }
    return undefined;
  }

  async #isWhole({ id, files }: StoredAdapter): Promise<boolean> {
    for (const { name, bytes } of files) {
      const size = await onFileSystem(() => sizeIfThere(join(this.#path(id), name)));
      if (size !== bytes) return false;
    }
    return true;
  }

  async copy(
    source: StoredAdapter,
    id: string,
    record: Omit<StoredAdapter, 'id' | 'files'>,
  ): Promise<StoredAdapter> {
    if (!isId(id)) throw new TypeError('An adapter id has the form of an id.');
    const directory = await this.#makeDraft();
    try {
      for (const { name } of source.files) {
        if (!isStoredFileName(name)) throw notFound(source.id);
        const linked = await onFileSystem(() =>
          linkOrCopy(join(this.#path(source.id), name), join(directory, name)),
        );
        if (!linked) throw notFound(source.id);
      }
      return await this.#publish(directory, { ...record, id, files: source.files });
    } catch (error) {
      await rm(directory, { recursive: true, force: true }).catch(() => undefined);
      throw error;
    }
  }

  async read(
    id: string,
    file: string,
    { range, signal }: { range?: ByteRange; signal?: AbortSignal } = {},
  ): Promise<AsyncIterable<Uint8Array>> {
    if (!isId(id) || !isStoredFileName(file)) throw notFound(id);
    signal?.throwIfAborted();
    const handle = await onFileSystem(() => openIfThere(join(this.#path(id), file)));
    if (!handle) throw notFound(id);
    return readFrom(handle, range?.start ?? 0, range?.end ?? Number.POSITIVE_INFINITY, signal);
  }

  async remove(id: string): Promise<boolean> {
    if (!isId(id)) return false;
    const record = await this.#lookUp(id);
    const trash = join(this.#drafts, draftName(this.#owner));
    return await onFileSystem(async () => {
      try {
        await rename(this.#path(id), trash);
      } catch (error) {
        if (hasCode(error, 'ENOENT')) return false;
        throw error;
      }
      await sync(this.#adapters);
      if (record && record !== DAMAGED) {
        await rm(join(this.#expiry, expiryName(record.expiresAt, id)), { force: true });
        await this.#forget(record.contentKey, id);
      }
      await rm(trash, { recursive: true, force: true });
      return true;
    });
  }

  async expired(now: number, limit: number): Promise<readonly string[]> {
    await this.#removeLeftovers();
    const entries = await onFileSystem(() => readdir(this.#expiry));
    const due = entries.filter((entry) => Number(entry.slice(0, TIME_DIGITS)) <= now).sort();
    const ids = new Set<string>();
    for (const entry of due) {
      if (ids.size >= limit) break;
      const id = entry.slice(TIME_DIGITS + 1);
      const record = await this.#lookUp(id);
      // Of a damaged one the entry alone tells the time.
      if (record && (record === DAMAGED || record.expiresAt <= now)) ids.add(id);
      else await onFileSystem(() => rm(join(this.#expiry, entry), { force: true }));
    }
    return [...ids];
  }

  /** Removes drafts of dead processes, and old ones of processes this one cannot see. */
  async #removeLeftovers(): Promise<void> {
    await onFileSystem(async () => {
      for (const name of await readdir(this.#drafts)) {
        const path = join(this.#drafts, name);
        const lives = await ownerLives(name, this.#owner);
        if (lives === 'no' || (lives === 'unknown' && (await isOld(path, this.#now())))) {
          await rm(path, { recursive: true, force: true });
        }
      }
    });
  }

  async ready(): Promise<void> {
    const path = join(this.#drafts, draftName(this.#owner));
    try {
      await writeFile(path, 'probe', [new Uint8Array(PROBE_BYTES)]);
    } catch (cause) {
      throw storeErrors.unavailable('The adapter directory cannot be written to.', { cause });
    } finally {
      await rm(path, { force: true }).catch(() => undefined);
    }
  }

  location(id: string): string {
    return this.#path(id);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#openDrafts].map((draft) => draft.discard()));
  }

  #path(id: string): string {
    return join(this.#adapters, id);
  }
}

function notFound(id: string) {
  return isId(id)
    ? storeErrors.notFound(`There is no adapter ${id}.`)
    : storeErrors.notFound('That is no id.');
}

function expiryName(expiresAt: number, id: string): string {
  return `${String(Math.ceil(expiresAt)).padStart(TIME_DIGITS, '0')}.${id}`;
}

/** Writes a file durably; errors of `content` itself pass through as they are. */
async function writeFile(
  path: string,
  name: string,
  content: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  signal?: AbortSignal,
): Promise<StoredFile> {
  const file = await onFileSystem(() => open(path, 'w'));
  try {
    const hash = createHash('sha256');
    let bytes = 0;
    for await (const chunk of gather(content)) {
      signal?.throwIfAborted();
      // The write runs on another thread, so that hashing costs no time of its own.
      const written = onFileSystem(() => file.writeFile(chunk));
      hash.update(chunk);
      bytes += chunk.length;
      await written;
    }
    await onFileSystem(() => file.sync());
    return { name, bytes, sha256: hash.digest('hex') };
  } finally {
    await onFileSystem(() => file.close());
  }
}

/** The same bytes in pieces of at least {@link WRITE_CHUNK_BYTES}, the last one aside. */
async function* gather(
  content: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  let pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of content) {
    pieces.push(piece);
    bytes += piece.length;
    if (bytes < WRITE_CHUNK_BYTES) continue;
    yield Buffer.concat(pieces);
    pieces = [];
    bytes = 0;
  }
  if (bytes > 0) yield Buffer.concat(pieces);
}

/** The bytes `start`…`end` that the file has, from the handle, which is closed at the end, on `return` and on failure. */
function readFrom(
  file: FileHandle,
  start: number,
  end: number,
  signal: AbortSignal | undefined,
): AsyncIterableIterator<Uint8Array> {
  let position = start;
  let open = true;
  const close = async () => {
    if (!open) return;
    open = false;
    await file.close();
  };
  // Not a generator: one that was never begun would not close the handle when it is returned.
  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    async next() {
      if (!open) return { done: true, value: undefined };
      try {
        signal?.throwIfAborted();
        const length = Math.min(READ_CHUNK_BYTES, end - position + 1);
        if (length > 0) {
          const chunk = new Uint8Array(length);
          const { bytesRead } = await onFileSystem(() => file.read(chunk, 0, length, position));
          position += bytesRead;
          if (bytesRead > 0) return { done: false, value: chunk.subarray(0, bytesRead) };
        }
      } catch (error) {
        await close();
        throw error;
      }
      await close();
      return { done: true, value: undefined };
    },
    async return() {
      await close();
      return { done: true, value: undefined };
    },
  };
}

/** Makes what was done inside a directory durable. */
async function sync(directory: string): Promise<void> {
  await using handle = await open(directory, 'r');
  await handle.sync();
}

async function touch(path: string): Promise<void> {
  await using _ = await open(path, 'a');
}

/** Renames a directory; false when a directory with something in it has the name. */
async function move(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to);
    return true;
  } catch (error) {
    if (hasCode(error, 'ENOTEMPTY', 'EEXIST')) return false;
    throw error;
  }
}

/** A second name for a file, or a copy where there are no hard links; false when the file is gone. */
async function linkOrCopy(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return false;
    // File systems without hard links, or with too many on one file.
    if (!hasCode(error, 'EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'EMLINK', 'ENOSYS')) throw error;
    await copyFile(from, to);
    await using handle = await open(to, 'r+');
    await handle.sync();
    return true;
  }
}

async function openIfThere(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, 'r');
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}

async function readIfThere(path: string): Promise<Uint8Array | undefined> {
  await using handle = await openIfThere(path);
  if (!handle) return undefined;
  const { size } = await handle.stat();
  return size > MAX_RECORD_BYTES ? new Uint8Array(0) : await handle.readFile();
}

async function listIfThere(path: string): Promise<string[]> {
  try {
    return await readdir(path);
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return [];
    throw error;
  }
}

async function sizeIfThere(path: string): Promise<number | undefined> {
  try {
    const facts = await stat(path);
    return facts.isFile() ? facts.size : undefined;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}

async function isOld(path: string, now: number): Promise<boolean> {
  try {
    return now - (await stat(path)).mtimeMs > FOREIGN_DRAFT_MAX_AGE_MS;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return false;
    throw error;
  }
}
