/** Files in object storage that are no adapters: read, and nothing else. */
import { HeadObjectCommand } from '@aws-sdk/client-s3';
import { storeErrors } from './errors.ts';
import { createS3Client, isMissing, type S3ClientOptions, toStoreError } from './s3-bucket.ts';
import { parseS3Url } from './s3-layout.ts';
import { readObject } from './s3-read.ts';

/** The files below one prefix. */
export type S3Files = {
  /** The bytes of a file from `fromByte` to its end. Errors: `store-address-invalid` when it is not there; `store-unavailable`. */
  read(name: string, options: { readonly fromByte: number }): AsyncIterable<Uint8Array>;
  close(): void;
};

/** Opens the files below `s3://bucket/prefix`; endpoint, region and credentials are the AWS SDK's to find. Errors: `store-address-invalid`. */
export function openS3Files(
  url: string,
  { signal, ...options }: S3ClientOptions & { readonly signal?: AbortSignal } = {},
): S3Files {
  const { bucket, prefix } = parseS3Url(url);
  const client = createS3Client(options);
  const abort = signal ? { abortSignal: signal } : {};
  return {
    async *read(name, { fromByte }) {
      const place = { bucket, key: prefix + name };
      try {
        const head = await client.send(new HeadObjectCommand({ Bucket: bucket, Key: place.key }), abort);
        const end = (head.ContentLength ?? 0) - 1;
        if (end >= fromByte) yield* await readObject(client, { ...place, start: fromByte, end }, signal);
      } catch (error) {
        if (signal?.aborted) throw signal.reason;
        if (isMissing(error))
          throw storeErrors.badAddress(`There is no ${name} below this address.`, { cause: error });
        throw toStoreError(error);
      }
    },
    close: () => client.destroy(),
  };
}
