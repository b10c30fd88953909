/** Adapters in object storage, each under a prefix that LoRAX, KServe and Dynamo take as an adapter's address. */
import { randomBytes } from 'node:crypto';
import { DeleteObjectCommand, GetObjectCommand } from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import type { Sha256 } from '../base/digest.ts';
import { isId, isTenant, type TenantId } from '../base/ids.ts';
import { storeErrors } from './errors.ts';
import { createNames } from './names.ts';
import { compareNewest } from './newest-first.ts';
import { checkCopy, isStoredFileName, RECORD_FILE } from './record.ts';
import { createS3Client, isMissing, onS3, type S3ClientOptions } from './s3-bucket.ts';
import { copyObject } from './s3-copy.ts';
import { parseS3Url, s3Layout } from './s3-layout.ts';
import { removeLeftovers } from './s3-leftovers.ts';
import { createS3NameLog } from './s3-names.ts';
import { probeConditionalWrites } from './s3-probe.ts';
import { headObject, publishObjects, type S3Publishing } from './s3-publish.ts';
import { readObject } from './s3-read.ts';
import { createS3Records, DAMAGED, REMOVED } from './s3-records.ts';
import { type PendingObject, type S3UploadOptions, smallObject, uploadFile } from './s3-upload.ts';
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

/** Options of {@link openS3Store}. */
export type S3StoreOptions = S3ClientOptions &
  Partial<Pick<S3UploadOptions, 'partBytes' | 'partsInFlight' | 'encryption' | 'kmsKeyId'>> & {
    /** `s3://bucket/prefix`. */
    readonly url: string;
    /** Opens a store whose server ignores conditions on writes, too. */
    readonly allowUnconditionalWrites?: boolean;
    readonly publisherPatienceMs?: number;
    /** Age at which an upload that nobody completed, or a file without a record, counts as left over. */
    readonly leftoverAgeMs?: number;
    readonly now?: () => number;
  };

/** The least that AWS takes for a part, with room: larger parts cost memory and gain little. */
const PART_BYTES = 8 << 20;
const PARTS_IN_FLIGHT = 4;
const PUBLISHER_PATIENCE_MS = 10_000;
/** Uploads live for seconds, rarely for minutes. */
const LEFTOVER_AGE_MS = 24 * 60 * 60 * 1000;
/** A file system's page, as in a local store. */
const PROBE_BYTES = 4096;

/**
 * Opens a store in a bucket that exists. The endpoint, the region and the credentials are found as the AWS SDK does
 * (`AWS_ENDPOINT_URL_S3`, `AWS_REGION`, `AWS_ACCESS_KEY_ID` …, instance roles, web identity). Any number of processes may
 * have the same place open. Errors: `store-address-invalid`, `store-writes-unconditional`, `store-unavailable`.
 */
export async function openS3Store(options: S3StoreOptions): Promise<AdapterStore> {
  const { bucket, prefix } = parseS3Url(options.url);
  const { partBytes = PART_BYTES, partsInFlight = PARTS_IN_FLIGHT, encryption, kmsKeyId } = options;
  const layout = s3Layout(prefix);
  const client = createS3Client(options);
  const uploads: S3UploadOptions = {
    client,
    bucket,
    partBytes,
    partsInFlight,
    ...(encryption && { encryption }),
    ...(kmsKeyId !== undefined && { kmsKeyId }),
  };
  const context: S3Publishing = {
    ...uploads,
    layout,
    records: createS3Records(uploads, layout),
    publisherPatienceMs: options.publisherPatienceMs ?? PUBLISHER_PATIENCE_MS,
  };
  const times = { leftoverAgeMs: options.leftoverAgeMs ?? LEFTOVER_AGE_MS, now: options.now ?? Date.now };
  const store = new S3Store(context, times);
  try {
    await store.ready();
    if (!options.allowUnconditionalWrites) await probeConditionalWrites(uploads, layout.probe);
  } catch (error) {
    await store.close();
    throw error;
  }
  return store;
}

type Times = { readonly leftoverAgeMs: number; readonly now: () => number };

class S3Store implements AdapterStore {
  readonly #context: S3Publishing;
  readonly #times: Times;
  readonly #openDrafts = new Set<AdapterDraft>();
  readonly #probeKey: string;

  constructor(context: S3Publishing, times: Times) {
    this.#context = context;
    this.#times = times;
    this.#probeKey = `${context.layout.probe}${randomBytes(8).toString('hex')}`;
  }

  of(tenant: string): TenantStore {
    if (!isTenant(tenant)) throw new TypeError('A tenant has the form of a tenant.');
    const { bucket, layout } = this.#context;
    return {
      draft: async (id, { check } = {}) => this.#draft({ tenant, id }, check),
      find: (id) => this.#find({ tenant, id }),
      findByContent: (contentKey) => this.#findByContent(tenant, contentKey),
      copy: (source, id, facts, { check } = {}) =>
        this.#copy(source, { ...facts, tenant, id, files: source.files }, check),
      read: (id, file, options) => this.#read({ tenant, id }, file, options),
      remove: (id) => this.#remove({ tenant, id }),
      newest: () => this.#newest(tenant),
      usage: () => this.#usage(tenant),
      link: (id, file, { expiresInSeconds }) => this.#link({ tenant, id }, file, expiresInSeconds),
      location: (id) => `s3://${bucket}/${layout.adapter({ tenant, id }).slice(0, -1)}`,
      names: createNames(createS3NameLog(this.#context, tenant), tenant, this.#times.now),
    };
  }

  async *list({ tenant }: { tenant?: string } = {}): AsyncGenerator<TenantId> {
    const { records, layout } = this.#context;
    for await (const { Key } of records.list(
      tenant === undefined ? layout.adapters : layout.tenant(tenant),
    )) {
      const [owner = '', id = '', file, ...more] = Key.slice(layout.adapters.length).split('/');
      if (file === RECORD_FILE && more.length === 0 && isTenant(owner) && isId(id))
        yield { tenant: owner, id };
    }
  }

  #draft(name: TenantId, check: PublishCheck | undefined): AdapterDraft {
    if (!isId(name.id)) throw new TypeError('An adapter id has the form of an id.');
    const { layout } = this.#context;
    type Written = { readonly file: StoredFile; readonly object: PendingObject };
    // The record has files in the order in which they were begun, also those that were written at the same time.
    const files = new Map<string, Written | undefined>();
    const written = () => [...files.values()].filter((file) => file !== undefined);
    let publishing: Promise<StoredAdapter> | undefined;
    let discarded = false;
    const abort = () => Promise.all(written().map(({ object }) => onS3(() => object.abort())));
    const draft: AdapterDraft = {
      write: async (fileName, content, { signal } = {}) => {
        if (!isStoredFileName(fileName)) {
          throw new TypeError(`${JSON.stringify(fileName)} is no name for a file.`);
        }
        if (!files.has(fileName)) files.set(fileName, undefined);
        const target = { key: layout.file(name, fileName), name: fileName };
        const uploaded = await uploadFile(this.#context, target, content, signal);
        await files.get(fileName)?.object.abort();
        files.set(fileName, uploaded);
        return uploaded.file;
      },
      publish: async (facts) => {
        if (discarded) throw storeErrors.unavailable('The draft was dropped.');
        const all = written();
        const record = { ...facts, ...name, files: all.map(({ file }) => file) };
        publishing ??= publishObjects(
          this.#context,
          all.map(({ object }) => object),
          record,
          check,
        );
        const adapter = await publishing;
        this.#openDrafts.delete(draft);
        // Those of a publisher that came second are still with the server; of completed ones there is nothing to drop.
        await abort().catch(() => undefined);
        return adapter;
      },
      discard: async () => {
        this.#openDrafts.delete(draft);
        discarded = true;
        const published = await publishing?.catch(() => undefined);
        if (!published) await abort();
      },
    };
    this.#openDrafts.add(draft);
    return draft;
  }

  async #find(name: TenantId): Promise<StoredAdapter | undefined> {
    const record = await this.#context.records.lookUp(name);
    if (record === DAMAGED) throw storeErrors.unavailable(`The record of ${name.id} is damaged.`);
    return record === REMOVED ? undefined : record;
  }

  async #findByContent(tenant: string, contentKey: Sha256): Promise<StoredAdapter | undefined> {
    if (!/^[0-9a-f]{64}$/.test(contentKey)) return undefined;
    const { records, layout } = this.#context;
    for await (const { Key } of records.list(layout.equals(tenant, contentKey))) {
      const record = await records.lookUp({ tenant, id: Key.slice(Key.lastIndexOf('/') + 1) });
      const usable = typeof record === 'object' && record.contentKey === contentKey;
      if (usable && (await this.#isWhole(record))) return record;
      await this.#delete(Key);
    }
    return undefined;
  }

  async #isWhole(record: StoredAdapter): Promise<boolean> {
    for (const { name, bytes } of record.files) {
      const object = await headObject(this.#context, this.#context.layout.file(record, name));
      if (object?.ContentLength !== bytes) return false;
    }
    return true;
  }

  async #copy(
    source: StoredAdapter,
    record: StoredAdapter,
    check: PublishCheck | undefined,
  ): Promise<StoredAdapter> {
    checkCopy(source, record);
    if (typeof (await this.#context.records.lookUp(source)) !== 'object') throw notFound(source.id);
    const { layout, bucket } = this.#context;
    const objects: PendingObject[] = [];
    try {
      for (const file of source.files) {
        const from = { bucket, key: layout.file(source, file.name), bytes: file.bytes };
        objects.push(await copyObject(this.#context, from, layout.file(record, file.name)));
      }
      return await publishObjects(this.#context, objects, record, check);
    } catch (error) {
      throw isMissing(error) ? notFound(source.id) : error;
    } finally {
      await Promise.all(objects.map((object) => object.abort())).catch(() => undefined);
    }
  }

  async #read(
    name: TenantId,
    file: string,
    { range, signal }: { range?: ByteRange; signal?: AbortSignal } = {},
  ): Promise<AsyncIterable<Uint8Array>> {
    if (!isId(name.id) || !isStoredFileName(file)) throw notFound(name.id);
    signal?.throwIfAborted();
    // A file shows with its record, not before.
    const bytes = (await this.#find(name))?.files.find((each) => each.name === file)?.bytes;
    if (bytes === undefined) throw notFound(name.id);
    const start = range?.start ?? 0;
    const end = Math.min(range?.end ?? Number.POSITIVE_INFINITY, bytes - 1);
    if (start > end) return nothing();
    const { client, bucket, layout } = this.#context;
    const wanted = { bucket, key: layout.file(name, file), start, end };
    return await onS3(async () => {
      try {
        return await readObject(client, wanted, signal);
      } catch (error) {
        throw isMissing(error) ? notFound(name.id) : error;
      }
    }, signal);
  }

  async #link(name: TenantId, file: string, expiresIn: number): Promise<string> {
    const known = (await this.#find(name))?.files.some((each) => each.name === file);
    if (!known) throw notFound(name.id);
    const { client, bucket, layout } = this.#context;
    const command = new GetObjectCommand({ Bucket: bucket, Key: layout.file(name, file) });
    return await onS3(() => getSignedUrl(client, command, { expiresIn }));
  }

  async #newest(tenant: string): Promise<readonly StoredAt[]> {
    const { records, layout } = this.#context;
    const prefix = layout.tenant(tenant);
    const found: StoredAt[] = [];
    for await (const { Key, LastModified } of records.list(prefix)) {
      const [id = '', file] = Key.slice(prefix.length).split('/');
      if (file === RECORD_FILE && isId(id)) found.push({ id, storedAt: LastModified?.getTime() ?? 0 });
    }
    return found.sort(compareNewest);
  }

  async #usage(tenant: string): Promise<StoreUsage> {
    const { records, layout } = this.#context;
    const sizes = new Map<string, number>();
    const whole = new Set<string>();
    for await (const { Key, Size = 0 } of records.list(layout.tenant(tenant))) {
      const id = Key.slice(0, Key.lastIndexOf('/'));
      if (Key.slice(id.length + 1) === RECORD_FILE) whole.add(id);
      else sizes.set(id, (sizes.get(id) ?? 0) + Size);
    }
    const bytes = [...whole].reduce((sum, id) => sum + (sizes.get(id) ?? 0), 0);
    return { adapters: whole.size, bytes };
  }

  /**
   * A mark takes the record's place before the files go, so that no publisher meanwhile takes files for its own that are
   * about to go. A removal that was cut off is ended by {@link expired}, which finds it by an entry of its own.
   */
  async #remove(name: TenantId): Promise<boolean> {
    const { records, layout } = this.#context;
    const record = await records.lookUp(name);
    if (record === undefined || record === REMOVED) return false;
    const removal = layout.expiryEntry(name, this.#times.now());
    await records.touch(removal);
    await records.markRemoved(name);
    await this.#deleteFiles(name);
    if (record !== DAMAGED) {
      await this.#delete(`${layout.equals(record.tenant, record.contentKey)}${record.id}`);
      await this.#delete(layout.expiryEntry(record, record.expiresAt));
    }
    await this.#delete(layout.record(name));
    await this.#delete(removal);
    return true;
  }

  async #deleteFiles(name: TenantId, isDue: (changedAt: number) => boolean = () => true): Promise<void> {
    const { records, layout } = this.#context;
    for await (const { Key, LastModified } of records.list(layout.adapter(name))) {
      if (Key !== layout.record(name) && isDue(LastModified?.getTime() ?? 0)) await this.#delete(Key);
    }
  }

  #delete(key: string): Promise<unknown> {
    const { client, bucket } = this.#context;
    return onS3(() => client.send(new DeleteObjectCommand({ Bucket: bucket, Key: key })));
  }

  async expired(now: number, limit: number): Promise<readonly TenantId[]> {
    await removeLeftovers(this.#context, (changedAt) => this.#isLeftover(changedAt));
    const { records, layout } = this.#context;
    const names = new Map<string, TenantId>();
    for await (const { Key, LastModified } of records.list(layout.expiry)) {
      if (names.size >= limit) break;
      const { at, name } = layout.readExpiryEntry(Key);
      if (at > now) break;
      const record = await records.lookUp(name);
      // Of a damaged one the entry alone tells the time.
      if (record === DAMAGED || (typeof record === 'object' && record.expiresAt <= now)) {
        names.set(`${name.tenant}/${name.id}`, name);
      } else if (typeof record === 'object') await this.#delete(Key);
      else if (this.#isLeftover(LastModified?.getTime() ?? 0)) await this.#endRemoval(name, Key);
    }
    return [...names.values()];
  }

  /** Removes what a publisher or a removal that was cut off has left of an adapter. */
  async #endRemoval(name: TenantId, expiryEntry: string): Promise<void> {
    await this.#deleteFiles(name, (changedAt) => this.#isLeftover(changedAt));
    if ((await this.#context.records.lookUp(name)) === REMOVED) {
      await this.#delete(this.#context.layout.record(name));
    }
    await this.#delete(expiryEntry);
  }

  #isLeftover(changedAt: number): boolean {
    return this.#times.now() - changedAt > this.#times.leftoverAgeMs;
  }

  async ready(): Promise<void> {
    try {
      await this.#delete(this.#probeKey);
      const probe = smallObject(this.#context, this.#probeKey, new Uint8Array(PROBE_BYTES));
      await onS3(() => probe.complete());
    } finally {
      await this.#delete(this.#probeKey).catch(() => undefined);
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.#openDrafts].map((draft) => draft.discard().catch(() => undefined)));
    this.#context.client.destroy();
  }
}

async function* nothing(): AsyncGenerator<Uint8Array> {}

function notFound(id: string) {
  return isId(id)
    ? storeErrors.notFound(`There is no adapter ${id}.`)
    : storeErrors.notFound('That is no id.');
}
