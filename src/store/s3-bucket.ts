/** Requests to one bucket, with the failures of the SDK turned into those of a store. */
import { S3Client, type S3ServiceException } from '@aws-sdk/client-s3';
import { LoradropError } from '../base/errors.ts';
import { storeErrors } from './errors.ts';

/** How an object store is reached; the endpoint, the region and the credentials are the SDK's own to find. */
export type S3ClientOptions = {
  /** The bucket is part of the path, not of the host name: most servers other than AWS want that. */
  readonly forcePathStyle?: boolean;
  /** Requests at once. */
  readonly maxSockets?: number;
  /** Tries of one request. */
  readonly maxAttempts?: number;
  /** Replace what the SDK finds by itself. A profile is one of its configuration files, which have the credentials. */
  readonly endpoint?: string;
  readonly region?: string;
  readonly profile?: string;
};

/** Tries of one request: with waits that double up to 20 s, a server that fails for half a minute is got over. */
const MAX_ATTEMPTS = 6;
const CONNECT_TIMEOUT_MS = 5_000;
/** From sending a request to the head of its answer: a part of the default size over a slow line. */
const ANSWER_TIMEOUT_MS = 60_000;
const MAX_SOCKETS = 64;
/** Codes by which servers say that there is no room. */
const FULL = new Set(['InsufficientStorage', 'XMinioStorageFull', 'QuotaExceeded', 'QuotaExceededException']);
const MISSING = new Set(['NoSuchKey', 'NotFound', 'NoSuchUpload']);
/** A concurrent conditional write is refused by AWS with 409 while the other one is under way. */
const TAKEN = new Set(['PreconditionFailed', 'ConditionalRequestConflict']);

/** A client for an object store. */
export function createS3Client(options: S3ClientOptions = {}) {
  const { forcePathStyle = false, maxSockets = MAX_SOCKETS, maxAttempts = MAX_ATTEMPTS } = options;
  const { endpoint, region, profile } = options;
  const agent = { keepAlive: true, maxSockets };
  return new S3Client({
    ...(endpoint !== undefined && { endpoint }),
    ...(region !== undefined && { region }),
    ...(profile !== undefined && { profile }),
    forcePathStyle,
    maxAttempts,
    // Every write brings its SHA-256; a reader has the one of the whole file from the record.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    requestHandler: {
      connectionTimeout: CONNECT_TIMEOUT_MS,
      requestTimeout: ANSWER_TIMEOUT_MS,
      throwOnRequestTimeout: true,
      httpAgent: agent,
      httpsAgent: agent,
    },
  });
}

/** True when the server says that the object or upload does not exist. A missing bucket is another matter. */
export function isMissing(error: unknown): boolean {
  return error instanceof Error && MISSING.has(error.name);
}

/** True when a conditional write was refused because the object exists. */
export function isTaken(error: unknown): boolean {
  return error instanceof Error && TAKEN.has(error.name);
}

/**
 * Runs requests and turns what fails into `store-full` or `store-unavailable`; the reason of an abort comes through as it
 * is. Messages name the server's code, never a bucket, key or host; the cause has them.
 */
export async function onS3<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (signal?.aborted) throw signal.reason;
    throw toStoreError(error);
  }
}

/** The HTTP status of an answer that the SDK made an error of; undefined when there was no answer. */
export function statusOf(error: unknown): number | undefined {
  return (error as Partial<S3ServiceException> | undefined)?.$metadata?.httpStatusCode;
}

/** True when the server says that it has no room left. */
export function saysFull(error: unknown): boolean {
  return error instanceof Error && (FULL.has(error.name) || statusOf(error) === 507);
}

/** A failure of the SDK or of a connection as one of a store. */
export function toStoreError(error: unknown): unknown {
  if (error instanceof LoradropError || error instanceof TypeError || !(error instanceof Error)) return error;
  const status = statusOf(error);
  const code = 'code' in error && typeof error.code === 'string' ? error.code : error.name;
  if (saysFull(error)) {
    return storeErrors.full(`The object store has no room left (${error.name}).`, { cause: error });
  }
  return storeErrors.unavailable(
    status === undefined
      ? `The object store does not answer (${code}).`
      : `The object store answered ${status} (${error.name}).`,
    { cause: error },
  );
}
