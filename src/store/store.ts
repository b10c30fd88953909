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

/** Keeps the adapters of one tenant; those of others do not exist here. */
export type TenantStore = {
  draft(id: string): Promise<AdapterDraft>;
  /** The record, or undefined. An adapter past `expiresAt` is still found until it is removed. */
  find(id: string): Promise<StoredAdapter | undefined>;
  /** An adapter with this content key whose files are still there, or undefined. */
  findByContent(contentKey: Sha256): Promise<StoredAdapter | undefined>;
  /** Publishes `id` with the files of `source`, without moving bytes through this process where the medium can. */
  copy(source: StoredAdapter, id: string, record: AdapterFacts): Promise<StoredAdapter>;
  /** A file's bytes, from one open handle: a delete meanwhile does not cut the stream. Errors: `adapter-not-found`. */
  read(
    id: string,
    file: string,
    options?: { range?: ByteRange; signal?: AbortSignal },
  ): Promise<AsyncIterable<Uint8Array>>;
  /** Removes an adapter; false when there was none. Nothing of it is visible once this returns. */
  remove(id: string): Promise<boolean>;
  /** What the tenant has now, counted anew: it looks at every adapter. */
  usage(): Promise<StoreUsage>;
  /**
   * An address from which anybody can read a file until the link ends, seven days from now at most; undefined where the
   * medium gives none out. Errors: `adapter-not-found`.
   */
  link(id: string, file: string, options: { expiresInSeconds: number }): Promise<string | undefined>;
  /** Where people find an adapter's directory: an absolute path or an `s3://` address. */
  location(id: string): string;
};

/** Keeps adapters. */
export type AdapterStore = {
  of(tenant: string): TenantStore;
  /** Adapters of all tenants whose `expiresAt` is at or before `now`, the earliest first, at most `limit`. */
  expired(now: number, limit: number): Promise<readonly TenantId[]>;
  /**
   * Rejects when a write would not work now: with `store-full` where the medium tells that it has fewer than `bytes` left,
   * else with `store-unavailable`.
   */
  ready(options?: { bytes?: number }): Promise<void>;
  close(): Promise<void>;
};
