/** One file of a stored adapter → an object of a destination. */
import { AbortMultipartUploadCommand, ListMultipartUploadsCommand } from '@aws-sdk/client-s3';
import { LoradropError } from '../base/errors.ts';
import { destinationErrors, storeErrors } from './errors.ts';
import { isMissing, isTaken, onS3, saysFull, statusOf } from './s3-bucket.ts';
import { copyObject, type S3Source } from './s3-copy.ts';
import { headObject } from './s3-publish.ts';
import { type PendingObject, type S3UploadOptions, uploadFile } from './s3-upload.ts';
import type { StoredAdapter, StoredFile, TenantStore } from './store.ts';

/** Where the files of one adapter go. */
export type S3Target = S3UploadOptions & {
  /** Ends with a slash. */
  readonly prefix: string;
};

/** The metadata by which a file that is there is told from another one. */
const DIGEST = 'loradrop-sha256';
/** Names by which servers say that they do not accept who asks. */
const DENIED = new Set(['AccessDenied', 'InvalidAccessKeyId', 'SignatureDoesNotMatch', 'ExpiredToken']);
/** Failures of the SDK that find no credentials at all. */
const NO_CREDENTIALS = new Set(['CredentialsProviderError', 'TokenProviderError']);

/**
 * Makes the file an object with its digest beside it, unless it is there already. With `inside` the server copies it by
 * itself where it can; all else is streamed. Errors: see `Destinations.copy`.
 */
export async function copyToS3(
  target: S3Target,
  adapter: StoredAdapter,
  options: {
    readonly name: string;
    readonly source: Pick<TenantStore, 'read' | 'location'>;
    readonly inside: boolean;
    readonly signal: AbortSignal;
  },
): Promise<void> {
  const { name, source, inside, signal } = options;
  const file = adapter.files.find((each) => each.name === name);
  if (!file) throw storeErrors.notFound(`${adapter.id} has no such file.`);
  const key = `${target.prefix}${name}`;
  const tagged: S3Target = { ...target, metadata: { [DIGEST]: file.sha256 } };
  if (await isThere(target, key, file)) return;
  const from = inside ? objectOf(source.location(adapter.id), file) : undefined;
  const object =
    (from && (await copyInside(tagged, from, key))) ??
    (await stream(tagged, { key, file, signal, read: () => source.read(adapter.id, name, { signal }) }));
  let completed = false;
  try {
    completed = await onTarget(() => complete(object));
    // Also where the key was taken: by our own object, when its answer was lost, or by another one.
    if (!(await isThere(target, key, file)))
      throw destinationErrors.unavailable('A written file is not there.');
  } finally {
    if (!completed) await object.abort().catch(() => undefined);
  }
}

/** False when the key was taken or the upload is no longer there, as after an answer that was lost. */
async function complete(object: PendingObject): Promise<boolean> {
  try {
    await object.complete();
    return true;
  } catch (error) {
    if (isTaken(error) || isMissing(error)) return false;
    throw error;
  }
}

/** True when the object is this file. Errors: `destination-occupied` when it is another one. */
async function isThere(target: S3Target, key: string, { bytes, sha256 }: StoredFile): Promise<boolean> {
  const object = await onTarget(() => headObject(target, key));
  if (!object) return false;
  if (object.ContentLength === bytes && object.Metadata?.[DIGEST] === sha256) return true;
  throw destinationErrors.occupied('The place has an object that is another one, and it is not overwritten.');
}

/** The object in which a store in object storage keeps a file, by the store's address of the adapter. */
function objectOf(location: string, { name, bytes }: StoredFile): S3Source | undefined {
  const [, bucket, key] = /^s3:\/\/([^/]+)\/(.+)$/.exec(location) ?? [];
  return bucket !== undefined && key !== undefined ? { bucket, key: `${key}/${name}`, bytes } : undefined;
}

/** A copy made by the server, or undefined where it makes none: the file is streamed then, which tells why if that fails too. */
async function copyInside(target: S3Target, from: S3Source, key: string): Promise<PendingObject | undefined> {
  try {
    return await copyObject(target, from, key);
  } catch (error) {
    const status = statusOf(causeOf(error)) ?? 0;
    if (error instanceof LoradropError && error.code === storeErrors.notFound.spec.code) return undefined;
    if ((status >= 300 && status < 500) || status === 501) return undefined;
    throw toDestinationError(error);
  }
}

async function stream(
  target: S3Target,
  {
    key,
    file,
    read,
    signal,
  }: {
    key: string;
    file: StoredFile;
    read: () => Promise<AsyncIterable<Uint8Array>>;
    signal: AbortSignal;
  },
): Promise<PendingObject> {
  const source: { failure?: unknown } = {};
  async function* content() {
    try {
      yield* await read();
    } catch (error) {
      source.failure = error;
      throw error;
    }
  }
  try {
    const written = await uploadFile(target, { key, name: file.name }, content(), signal);
    if (written.file.bytes === file.bytes && written.file.sha256 === file.sha256) return written.object;
    await written.object.abort();
  } catch (error) {
    throw signal.aborted || error === source.failure ? error : toDestinationError(error);
  }
  throw storeErrors.damaged('Its bytes have another digest than its record.');
}

/** Ends uploads that a process which died has left for this adapter; one run of a copy goes on at a time. */
export async function abortUploads({ client, bucket, prefix }: S3Target): Promise<void> {
  try {
    const { Uploads = [] } = await client.send(
      new ListMultipartUploadsCommand({ Bucket: bucket, Prefix: prefix }),
    );
    for (const { Key, UploadId } of Uploads) {
      await client.send(new AbortMultipartUploadCommand({ Bucket: bucket, Key, UploadId }));
    }
  } catch {
    // Not every account that may write may also list; what is wrong otherwise, the copy itself finds out.
  }
}

async function onTarget<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await onS3(work);
  } catch (error) {
    throw toDestinationError(error);
  }
}

const causeOf = (error: unknown) => (error instanceof LoradropError ? (error.cause ?? error) : error);

/** A failure of a request to a destination. Messages name the server's code, never a bucket, key or host. */
function toDestinationError(error: unknown): unknown {
  if (error instanceof LoradropError && error.code.startsWith('destination-')) return error;
  const cause = causeOf(error);
  const status = statusOf(cause);
  const name = cause instanceof Error ? cause.name : '';
  const context = { cause: error };
  const answer = `The server answered ${status} (${name}).`;
  if (NO_CREDENTIALS.has(name)) return destinationErrors.denied('There are no credentials for it.', context);
  if (DENIED.has(name) || status === 401 || status === 403) return destinationErrors.denied(answer, context);
  if (name === 'NoSuchBucket') return destinationErrors.missing(answer, context);
  if (saysFull(cause)) return destinationErrors.full(answer, context);
  if (status !== undefined) return destinationErrors.unavailable(answer, context);
  return error instanceof LoradropError
    ? destinationErrors.unavailable(error.message, context)
    : destinationErrors.unavailable('It does not answer.', context);
}
