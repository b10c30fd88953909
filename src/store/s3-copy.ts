import { type CompletedPart, GetObjectCommand, UploadPartCopyCommand } from '@aws-sdk/client-s3';
import { storeErrors } from './errors.ts';
import { isMissing, onS3 } from './s3-bucket.ts';
import { beginMultipart, type PendingObject, type S3UploadOptions, smallObject } from './s3-upload.ts';

/** A file up to this size takes less time through this process than the requests of a copy inside the server. */
const SMALL_BYTES = 64 << 10;
/** The most that a server copies as one part. */
const COPY_PART_BYTES = 2 ** 30;

/** An object to copy. Its bucket may be another one that the same client reaches. */
export type S3Source = { readonly bucket: string; readonly key: string; readonly bytes: number };

/**
 * A copy of an object that shows once it is completed, made inside the server unless it is small. Errors:
 * `adapter-not-found` when the source is gone.
 */
export async function copyObject(
  options: S3UploadOptions,
  from: S3Source,
  key: string,
): Promise<PendingObject> {
  const { client } = options;
  return await onS3(async () => {
    try {
      if (from.bytes <= SMALL_BYTES) {
        const { Body } = await client.send(new GetObjectCommand({ Bucket: from.bucket, Key: from.key }));
        return smallObject(options, key, await Body!.transformToByteArray());
      }
      return await copyInParts(options, from, key);
    } catch (error) {
      if (isMissing(error)) throw storeErrors.notFound('The adapter that was to be copied is gone.');
      throw error;
    }
  });
}

async function copyInParts(options: S3UploadOptions, from: S3Source, key: string): Promise<PendingObject> {
  const { client } = options;
  // Without checksums of ours: versitygw 1.8 hands out the source's own for a part, and then refuses it.
  const multipart = await beginMultipart(options, key, { checksums: false });
  try {
    const parts: CompletedPart[] = [];
    for (let start = 0; start < from.bytes; start += COPY_PART_BYTES) {
      const end = Math.min(start + COPY_PART_BYTES, from.bytes) - 1;
      const number = parts.length + 1;
      const { CopyPartResult } = await client.send(
        new UploadPartCopyCommand({
          ...multipart.upload,
          PartNumber: number,
          CopySource: encodeURI(`${from.bucket}/${from.key}`),
          CopySourceRange: `bytes=${start}-${end}`,
        }),
      );
      parts.push({ PartNumber: number, ETag: CopyPartResult?.ETag });
    }
    const { complete, abort } = multipart;
    // What such an object is tagged depends on the parts of the source: it is never taken for that of another.
    return { key, bytes: from.bytes, likelyTag: '', complete: () => complete(parts), abort };
  } catch (error) {
    await multipart.abort().catch(() => undefined);
    throw error;
  }
}
