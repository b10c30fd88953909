import { randomBytes } from 'node:crypto';
import { DeleteObjectCommand, UploadPartCommand } from '@aws-sdk/client-s3';
import { storeErrors } from './errors.ts';
import { isTaken, onS3 } from './s3-bucket.ts';
import { beginMultipart, type S3UploadOptions, smallObject } from './s3-upload.ts';

/**
 * Tries whether the server refuses to overwrite an object when a request says so, with one request and with parts: both
 * are how one publisher of an adapter is told from another. Errors: `store-writes-unconditional`, `store-unavailable`.
 */
export async function probeConditionalWrites(options: S3UploadOptions, prefix: string): Promise<void> {
  const { client, bucket } = options;
  const key = `${prefix}condition-${randomBytes(8).toString('hex')}`;
  const body = new Uint8Array(1);
  const refused = (work: () => Promise<unknown>) =>
    onS3(() =>
      work().then(
        () => false,
        (error) => {
          if (isTaken(error)) return true;
          throw error;
        },
      ),
    );
  await onS3(() => smallObject(options, key, body).complete());
  try {
    const whole = await refused(() => smallObject(options, key, body).complete());
    const multipart = await onS3(() => beginMultipart(options, key, { checksums: false }));
    let parts = true;
    try {
      const { ETag } = await onS3(() =>
        client.send(new UploadPartCommand({ ...multipart.upload, PartNumber: 1, Body: body })),
      );
      parts = await refused(() => multipart.complete([{ PartNumber: 1, ETag }]));
    } finally {
      await multipart.abort().catch(() => undefined);
    }
    if (whole && parts) return;
    const which = whole ? 'uploads in parts' : 'every write';
    throw storeErrors.unconditional(
      `“If-None-Match: *” has no effect on ${which}, so that two workers could mix their files. Use another store, or set S3_ALLOW_UNCONDITIONAL_WRITES=true where all workers make the same bytes of the same job.`,
    );
  } finally {
    await client.send(new DeleteObjectCommand({ Bucket: bucket, Key: key })).catch(() => undefined);
  }
}
