/** The port of the store room: finished adapters, kept whole or not at all. A directory and S3 both fit behind it. */
import type { Sha256 } from '../base/digest.ts';
import type { TenantId } from '../base/ids.ts';

/** A file of a stored adapter. */
export type StoredFile = { readonly name: string; readonly bytes: number; readonly sha256: Sha256 };

/**
 * What the store remembers of an adapter beside its files. The store does not look inside `info`: it is JSON of the
 * writer's (see jobs/generate.ts).
 */
export type StoredAdapter = TenantId & {
  readonly files: readonly StoredFile[];
  /** Milliseconds since the epoch. */
  readonly createdAt: number;
  readonly expiresAt: number;
  /** Two adapters of one content key have the same bytes. */
  readonly contentKey: Sha256;
  readonly info: Readonly<Record<string, unknown>>;
};

/** What its writer says of an adapter; its name and files the store knows itself. */
export type AdapterFacts = Omit<StoredAdapter, keyof TenantId | 'files'>;

/** An adapter being written: invisible to every reader until `publish` returns. */
export type AdapterDraft = {
  /**
   * Streams a file in, in bounded memory; digest and size are computed on the way. Several may be written at the same time.
   * Errors: `store-full`, `store-unavailable`.
   */
  write(
    name: string,
    content: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    options?: { signal?: AbortSignal },
  ): Promise<StoredFile>;
  /**
   * Makes all files and the record visible in one step, durably. When another writer published the same id first, its
   * adapter stays and is returned: work is at-least-once, and the same job gives the same bytes.
   */
  publish(record: AdapterFacts): Promise<StoredAdapter>;
  /** Drops what was written. Idempotent; does nothing after `publish`. */
  discard(): Promise<void>;
};

/** Bytes `start`…`end`, both inclusive, as in HTTP. */
export type ByteRange = { readonly start: number; readonly end: number };

/** Number of adapters, and bytes of their files. */
export type StoreUsage = { readonly adapters: number; readonly bytes: number };

/** An adapter that a name stands for or stood for; `setAt` is in milliseconds since the epoch. */
export type NamedAdapter = {
  readonly adapter: string;
  /** See `commitOf`. */
  readonly commit: string;
  readonly setAt: number;
};

/** A name and what it stands for. */
export type AdapterName = {
  readonly name: string;
  /** What it stands for now. The adapter may have been deleted since. */
  readonly current: NamedAdapter;
  /** All that it stood for, the newest first; `current` is the first. At most `MAX_HISTORY`. */
  readonly history: readonly NamedAdapter[];
  /** Another one after every change. */
  readonly tag: string;
};

/** Looks at a name that is about to be changed, undefined where there is none, and throws to refuse the change. */
export type NameCheck = (current: AdapterName | undefined) => void;

/** The names of one tenant. */
export type Names = {
  /** Errors of all: `store-unavailable`. */
  find(name: string): Promise<AdapterName | undefined>;
  /**
   * Makes the name stand for an adapter. It changes nothing, and answers as if, where the name does so already. Rejects
   * with what `check` throws; `store-full`.
   */
  set(
    name: string,
    adapter: Pick<StoredAdapter, 'id' | 'files'>,
    options?: { check?: NameCheck },
  ): Promise<{ readonly name: AdapterName; readonly created: boolean }>;
  /** Deletes the name, not its adapters; false where there is none. Rejects with what `check` throws. */
  remove(name: string, options?: { check?: NameCheck }): Promise<boolean>;
  /** Names in alphabetical order, those after `after`. */
  list(options: { after?: string; limit: number }): Promise<readonly AdapterName[]>;
  /** False when the tenant has `MAX_NAMES` names. Deleted ones count for a day. */
  hasRoom(): Promise<boolean>;
};

/** An adapter by the time at which it was stored, in milliseconds since the epoch. */
export type StoredAt = { readonly id: string; readonly storedAt: number };

/** Called right before an adapter shows; what it throws ends the publication. */
export type PublishCheck = () => Promise<void>;

/** Keeps the adapters of one tenant; those of others do not exist here. */
export type TenantStore = {
  draft(id: string, options?: { check?: PublishCheck }): Promise<AdapterDraft>;
  /** The record, or undefined. An adapter past `expiresAt` is still found until it is removed. */
  find(id: string): Promise<StoredAdapter | undefined>;
  /** An adapter with this content key whose files are still there, or undefined. */
  findByContent(contentKey: Sha256): Promise<StoredAdapter | undefined>;
  /** Publishes `id` with the files of `source`, without moving bytes through this process where the medium can. */
  copy(
    source: StoredAdapter,
    id: string,
    record: AdapterFacts,
    options?: { check?: PublishCheck },
  ): Promise<StoredAdapter>;
  /** A file's bytes, from one open handle: a delete meanwhile does not cut the stream. Errors: `adapter-not-found`. */
  read(
    id: string,
    file: string,
    options?: { range?: ByteRange; signal?: AbortSignal },
  ): Promise<AsyncIterable<Uint8Array>>;
  /** Removes an adapter; false when there was none. Nothing of it is visible once this returns. */
  remove(id: string): Promise<boolean>;
  /** All adapters, the last stored first, by a walk that reads none of them. */
  newest(): Promise<readonly StoredAt[]>;
  /** What the tenant has now, counted anew: it looks at every adapter. */
  usage(): Promise<StoreUsage>;
  /**
   * An address from which anybody can read a file until the link ends, seven days from now at most; undefined where the
   * medium gives none out. Errors: `adapter-not-found`.
   */
  link(id: string, file: string, options: { expiresInSeconds: number }): Promise<string | undefined>;
  /** Where people find an adapter's directory: an absolute path or an `s3://` address. */
  location(id: string): string;
  /** Mutable aliases of the tenant's adapters. */
  readonly names: Names;
};

/** Keeps adapters. */
export type AdapterStore = {
  of(tenant: string): TenantStore;
  /** Names of all adapters, or of one tenant's, in no order; those published or removed meanwhile may be missing or among them. */
  list(options?: { tenant?: string }): AsyncIterable<TenantId>;
  /** Adapters of all tenants whose `expiresAt` is at or before `now`, the earliest first, at most `limit`. */
  expired(now: number, limit: number): Promise<readonly TenantId[]>;
  /**
   * Rejects when a write would not work now: with `store-full` where the medium tells that it has fewer than `bytes` left,
   * else with `store-unavailable`.
   */
  ready(options?: { bytes?: number }): Promise<void>;
  close(): Promise<void>;
};
