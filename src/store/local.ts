/** Adapters in a directory, each in one that PEFT and vLLM open as it is. */
import { mkdir, readdir, rename, rm, rmdir, statfs } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Sha256 } from '../base/digest.ts';
import { isId, isTenant, type TenantId } from '../base/ids.ts';
import { currentOwner, type DraftOwner, draftName, ownerLives } from './draft-owner.ts';
import { storeErrors } from './errors.ts';
import { hasCode, onFileSystem } from './file-system-errors.ts';
import {
  fileIfThere,
  isOlder,
  linkOrCopy,
  listIfThere,
  move,
  openIfThere,
  readFrom,
  readIfThere,
  sync,
  touch,
  writeFile,
} from './local-files.ts';
import { DAY_MS, type LocalLayout, localLayout, moveVersion1 } from './local-layout.ts';
import { createLocalNameLog } from './local-names.ts';
import { createNames } from './names.ts';
import { compareNewest } from './newest-first.ts';
import { checkCopy, decodeRecord, encodeRecord, isStoredFileName, RECORD_FILE } from './record.ts';
import type {
  AdapterDraft,
  AdapterStore,
  ByteRange,
  PublishCheck,
  StoredAdapter,
  StoredAt,
  StoredFile,
  StoreUsage,
  TenantStore,
} from './store.ts';

/** Age at which a draft of another machine counts as left over: drafts live for seconds, rarely for minutes. */
export const FOREIGN_DRAFT_MAX_AGE_MS = 24 * 60 * 60 * 1000;
/** What `ready` writes: a whole page, so that a full file system shows. */
const PROBE_BYTES = 4096;
/** Rounds of `publish` against others that publish and remove the same id meanwhile; one is enough in peace. */
const MAX_PUBLISH_ROUNDS = 8;
/** Records looked at together to list or count what a tenant has: files open at once, bounded. */
const USAGE_BATCH = 32;
/** An adapter directory whose record cannot be used. */
const DAMAGED = 'damaged';

/**
 * Opens a store in `directory` (see {@link LocalLayout}), which is made when missing, and removes what dead processes left
 * half-written. Several processes may have the same directory open. Errors: `store-unavailable`, `store-full`.
 */
export async function openLocalStore({
  directory,
  now = Date.now,
}: {
  directory: string;
  now?: () => number;
}): Promise<AdapterStore> {
  const store = new LocalStore(localLayout(resolve(directory)), await currentOwner(), now);
  await store.prepare();
  return store;
}

class LocalStore implements AdapterStore {
  readonly #layout: LocalLayout;
  readonly #owner: DraftOwner;
  readonly #now: () => number;
  readonly #openDrafts = new Set<AdapterDraft>();

  constructor(layout: LocalLayout, owner: DraftOwner, now: () => number) {
    this.#layout = layout;
    this.#owner = owner;
    this.#now = now;
  }

  async prepare(): Promise<void> {
    await onFileSystem(async () => {
      const { adapters, drafts, content, expiry } = this.#layout;
      for (const path of [adapters, drafts, content, expiry]) await mkdir(path, { recursive: true });
    });
    await this.#tidy();
  }

  of(tenant: string): TenantStore {
    if (!isTenant(tenant)) throw new TypeError('A tenant has the form of a tenant.');
    return {
      draft: (id, { check } = {}) => this.#draft({ tenant, id }, check),
      find: (id) => this.#find({ tenant, id }),
      findByContent: (contentKey) => this.#findByContent(tenant, contentKey),
      copy: (source, id, facts, { check } = {}) =>
        this.#copy(source, { ...facts, tenant, id, files: source.files }, check),
      read: (id, file, options) => this.#read({ tenant, id }, file, options),
      remove: (id) => this.#remove({ tenant, id }),
      newest: () => this.#newest(tenant),
      usage: () => this.#usage(tenant),
      link: async () => undefined,
      location: (id) => this.#layout.adapter({ tenant, id }),
      names: createNames(createLocalNameLog(this.#layout, this.#owner, tenant), tenant, this.#now),
    };
  }

  async *list({ tenant }: { tenant?: string } = {}): AsyncGenerator<TenantId> {
    await onFileSystem(() => moveVersion1(this.#layout));
    const tenants =
      tenant === undefined ? await onFileSystem(() => readdir(this.#layout.adapters)) : [tenant];
    for (const each of tenants.filter(isTenant)) {
      for (const id of await onFileSystem(() => listIfThere(this.#layout.tenant(each)))) {
        if (isId(id)) yield { tenant: each, id };
      }
    }
  }

  async #draft(name: TenantId, check: PublishCheck | undefined): Promise<AdapterDraft> {
    if (!isId(name.id)) throw new TypeError('An adapter id has the form of an id.');
    const directory = await this.#makeDraft();
    // The record has files in the order in which they were begun, also those that were written at the same time.
    const files = new Map<string, StoredFile | undefined>();
    let publishing: Promise<StoredAdapter> | undefined;
    const draft: AdapterDraft = {
      write: async (fileName, content, { signal } = {}) => {
        if (!isStoredFileName(fileName)) {
          throw new TypeError(`${JSON.stringify(fileName)} is no name for a file.`);
        }
        if (!files.has(fileName)) files.set(fileName, undefined);
        const file = await writeFile(join(directory, fileName), fileName, content, signal);
        files.set(fileName, file);
        return file;
      },
      publish: async (facts) => {
        const written = [...files.values()].filter((file) => file !== undefined);
        publishing ??= this.#publish(directory, { ...facts, ...name, files: written }, check);
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
    const directory = join(this.#layout.drafts, draftName(this.#owner));
    await onFileSystem(() => mkdir(directory));
    return directory;
  }

  /** Gives a finished draft its place; when another has it, drops the draft and returns what is there. */
  async #publish(
    draft: string,
    record: StoredAdapter,
    check: PublishCheck | undefined,
  ): Promise<StoredAdapter> {
    const recording = writeFile(join(draft, RECORD_FILE), RECORD_FILE, [encodeRecord(record)]).then(() =>
      onFileSystem(() => sync(draft)),
    );
    // Before the adapter shows, so that no crash leaves one that never expires; the medium is waited for once for both.
    const noting = onFileSystem(() => this.#noteExpiry(record));
    await Promise.allSettled([recording, noting]);
    await recording;
    await noting;
    for (let round = 0; round < MAX_PUBLISH_ROUNDS; round++) {
      await check?.();
      const moved = await onFileSystem(async () => {
        await mkdir(this.#layout.tenant(record.tenant), { recursive: true });
        return move(draft, this.#layout.adapter(record));
      });
      if (moved) {
        await onFileSystem(() => sync(this.#layout.tenant(record.tenant)));
        // The adapter is there already: without this hint an equal one would be made anew, no more.
        await this.#remember(record).catch(() => undefined);
        return record;
      }
      const winner = await this.#find(record);
      if (winner) {
        await onFileSystem(() => rm(draft, { recursive: true, force: true }));
        return winner;
      }
    }
    throw storeErrors.unavailable(`The place of ${record.id} is taken by something that is not an adapter.`);
  }

  async #noteExpiry(record: StoredAdapter): Promise<void> {
    const { directory, path } = this.#layout.expiryEntry(record, record.expiresAt);
    await mkdir(directory, { recursive: true });
    await touch(path);
    await Promise.all([sync(directory), sync(this.#layout.expiry)]);
  }

  async #remember(record: StoredAdapter): Promise<void> {
    const directory = this.#layout.equals(record.tenant, record.contentKey);
    await mkdir(directory, { recursive: true });
    await touch(join(directory, record.id));
  }

  async #forget(contentKey: Sha256, { tenant, id }: TenantId): Promise<void> {
    const directory = this.#layout.equals(tenant, contentKey);
    await rm(join(directory, id), { force: true });
    // Fails while it has other entries, as it should.
    await rmdir(directory).catch(() => undefined);
  }

  async #find(name: TenantId): Promise<StoredAdapter | undefined> {
    const record = await this.#lookUp(name);
    if (record === DAMAGED) throw storeErrors.unavailable(`The record of ${name.id} is damaged.`);
    return record;
  }

  async #lookUp(name: TenantId): Promise<StoredAdapter | typeof DAMAGED | undefined> {
    if (!isId(name.id)) return undefined;
    const bytes = await onFileSystem(() => readIfThere(join(this.#layout.adapter(name), RECORD_FILE)));
    if (!bytes) return undefined;
    const record = decodeRecord(bytes);
    return record?.id === name.id && record.tenant === name.tenant ? record : DAMAGED;
  }

  async #findByContent(tenant: string, contentKey: Sha256): Promise<StoredAdapter | undefined> {
    if (!/^[0-9a-f]{64}$/.test(contentKey)) return undefined;
    for (const id of await onFileSystem(() => listIfThere(this.#layout.equals(tenant, contentKey)))) {
      const record = await this.#lookUp({ tenant, id });
      if (record && record !== DAMAGED && record.contentKey === contentKey && (await this.#isWhole(record))) {
        return record;
      }
      await onFileSystem(() => this.#forget(contentKey, { tenant, id }));
    }
    return undefined;
  }

  async #isWhole(record: StoredAdapter): Promise<boolean> {
    for (const { name, bytes } of record.files) {
      const file = await onFileSystem(() => fileIfThere(join(this.#layout.adapter(record), name)));
      if (file?.size !== bytes) return false;
    }
    return true;
  }

  async #copy(
    source: StoredAdapter,
    record: StoredAdapter,
    check: PublishCheck | undefined,
  ): Promise<StoredAdapter> {
    checkCopy(source, record);
    const directory = await this.#makeDraft();
    try {
      for (const file of source.files) {
        if (!isStoredFileName(file.name)) throw notFound(source.id);
        const linked = await onFileSystem(() =>
          linkOrCopy(join(this.#layout.adapter(source), file.name), join(directory, file.name)),
        );
        if (!linked) throw notFound(source.id);
      }
      return await this.#publish(directory, record, check);
    } catch (error) {
      await rm(directory, { recursive: true, force: true }).catch(() => undefined);
      throw error;
    }
  }

  async #read(
    name: TenantId,
    file: string,
    { range, signal }: { range?: ByteRange; signal?: AbortSignal } = {},
  ): Promise<AsyncIterable<Uint8Array>> {
    if (!isId(name.id) || !isStoredFileName(file)) throw notFound(name.id);
    signal?.throwIfAborted();
    const handle = await onFileSystem(() => openIfThere(join(this.#layout.adapter(name), file)));
    if (!handle) throw notFound(name.id);
    return readFrom(handle, range?.start ?? 0, range?.end ?? Number.POSITIVE_INFINITY, signal);
  }

  async #newest(tenant: string): Promise<readonly StoredAt[]> {
    const found: StoredAt[] = [];
    const ids = (await onFileSystem(() => listIfThere(this.#layout.tenant(tenant)))).filter(isId);
    for (let from = 0; from < ids.length; from += USAGE_BATCH) {
      const times = ids.slice(from, from + USAGE_BATCH).map(async (id) => ({
        id,
        record: await onFileSystem(() =>
          fileIfThere(join(this.#layout.adapter({ tenant, id }), RECORD_FILE)),
        ),
      }));
      for (const { id, record } of await Promise.all(times)) {
        if (record) found.push({ id, storedAt: Math.floor(record.mtimeMs) });
      }
    }
    return found.sort(compareNewest);
  }

  async #usage(tenant: string): Promise<StoreUsage> {
    let [adapters, bytes] = [0, 0];
    const ids = await onFileSystem(() => listIfThere(this.#layout.tenant(tenant)));
    for (let from = 0; from < ids.length; from += USAGE_BATCH) {
      const batch = ids.slice(from, from + USAGE_BATCH);
      for (const record of await Promise.all(batch.map((id) => this.#lookUp({ tenant, id })))) {
        if (!record) continue;
        adapters += 1;
        if (record !== DAMAGED) bytes += record.files.reduce((sum, file) => sum + file.bytes, 0);
      }
    }
    return { adapters, bytes };
  }

  async #remove(name: TenantId): Promise<boolean> {
    if (!isId(name.id)) return false;
    const record = await this.#lookUp(name);
    const trash = join(this.#layout.drafts, draftName(this.#owner));
    return await onFileSystem(async () => {
      try {
        await rename(this.#layout.adapter(name), trash);
      } catch (error) {
        if (hasCode(error, 'ENOENT')) return false;
        throw error;
      }
      await sync(this.#layout.tenant(name.tenant));
      if (record && record !== DAMAGED) {
        await rm(this.#layout.expiryEntry(name, record.expiresAt).path, { force: true });
        await this.#forget(record.contentKey, name);
      }
      await rm(trash, { recursive: true, force: true });
      return true;
    });
  }

  async expired(now: number, limit: number): Promise<readonly TenantId[]> {
    await this.#tidy();
    const names = new Map<string, TenantId>();
    const today = Math.floor(now / DAY_MS);
    const days = await onFileSystem(() => readdir(this.#layout.expiry));
    for (const day of days
      .map(Number)
      .filter((each) => each <= today)
      .sort((a, b) => a - b)) {
      const directory = this.#layout.expiryDay(day);
      const entries = await onFileSystem(() => listIfThere(directory));
      for (const entry of entries.sort()) {
        if (names.size >= limit) return [...names.values()];
        const { at, name } = this.#layout.readExpiryEntry(entry);
        if (at > now) break;
        const record = await this.#lookUp(name);
        // Of a damaged one the entry alone tells the time.
        if (record && (record === DAMAGED || record.expiresAt <= now))
          names.set(`${name.tenant}/${name.id}`, name);
        else await onFileSystem(() => rm(join(directory, entry), { force: true }));
      }
      // Fails while it has entries, as it should.
      if (day < today) await rmdir(directory).catch(() => undefined);
    }
    return [...names.values()];
  }

  async #tidy(): Promise<void> {
    await onFileSystem(() => moveVersion1(this.#layout));
    await this.#removeLeftovers();
  }

  /** Removes drafts of dead processes, and old ones of processes this one cannot see. */
  async #removeLeftovers(): Promise<void> {
    await onFileSystem(async () => {
      for (const name of await readdir(this.#layout.drafts)) {
        const path = join(this.#layout.drafts, name);
        const lives = await ownerLives(name, this.#owner);
        if (lives === 'no' || (lives === 'unknown' && (await this.#isAbandoned(path)))) {
          await rm(path, { recursive: true, force: true });
        }
      }
    });
  }

  #isAbandoned(path: string): Promise<boolean> {
    return isOlder(path, { maxAgeMs: FOREIGN_DRAFT_MAX_AGE_MS, now: this.#now() });
  }

  async ready({ bytes = 0 }: { bytes?: number } = {}): Promise<void> {
    // A probe of one page fits where an adapter does not.
    const { bavail, bsize } = await onFileSystem(() => statfs(this.#layout.drafts));
    if (bavail * bsize < bytes) {
      throw storeErrors.full(`The file system has ${bavail * bsize} bytes left; an adapter takes ${bytes}.`);
    }
    const path = join(this.#layout.drafts, draftName(this.#owner));
    try {
      await writeFile(path, 'probe', [new Uint8Array(PROBE_BYTES)]);
    } catch (cause) {
      throw storeErrors.unavailable('The adapter directory cannot be written to.', { cause });
    } finally {
      await rm(path, { force: true }).catch(() => undefined);
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.#openDrafts].map((draft) => draft.discard()));
  }
}

function notFound(id: string) {
  return isId(id)
    ? storeErrors.notFound(`There is no adapter ${id}.`)
    : storeErrors.notFound('That is no id.');
}
