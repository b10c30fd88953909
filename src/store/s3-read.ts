import type { Readable } from 'node:stream';
import { GetObjectCommand, type S3Client } from '@aws-sdk/client-s3';
import { storeErrors } from './errors.ts';
import { toStoreError } from './s3-bucket.ts';

/** What is read: bytes `start`…`end` of an object, both inclusive. */
export type S3Range = {
  readonly bucket: string;
  readonly key: string;
  readonly start: number;
  readonly end: number;
};

/**
 * The bytes of a range, from one answer of the server, which is ended on `return` and on failure. Errors: the SDK's own
 * while it is opened; `store-unavailable` when it ends early.
 */
export async function readObject(
  client: S3Client,
  { bucket, key, start, end }: S3Range,
  signal: AbortSignal | undefined,
): Promise<AsyncIterableIterator<Uint8Array>> {
  const { Body } = await client.send(
    new GetObjectCommand({ Bucket: bucket, Key: key, Range: `bytes=${start}-${end}` }),
    signal ? { abortSignal: signal } : {},
  );
  const body = Body as Readable;
  const chunks = body[Symbol.asyncIterator]();
  let left = end - start + 1;
  // Not a generator: one that was never begun would leave the connection taken when it is returned.
  const bytes: AsyncIterableIterator<Uint8Array> = {
    [Symbol.asyncIterator]() {
      return this;
    },
    async next() {
      try {
        signal?.throwIfAborted();
        const { done, value } = await chunks.next();
        if (!done) {
          left -= (value as Uint8Array).length;
          return { done: false, value: value as Uint8Array };
        }
      } catch (error) {
        body.destroy();
        throw signal?.aborted ? signal.reason : toStoreError(error);
      }
      if (left > 0) throw storeErrors.unavailable('The object store ended the file early.');
      return { done: true, value: undefined };
    },
    async return() {
      body.destroy();
      return { done: true, value: undefined };
    },
  };
  return bytes;
}
