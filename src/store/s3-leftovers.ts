/** What processes that died leave in a bucket: uploads in parts, which are kept and paid for, and objects that a store was tried with. */
import {
  AbortMultipartUploadCommand,
  DeleteObjectCommand,
  ListMultipartUploadsCommand,
  type ListMultipartUploadsCommandOutput,
  type MultipartUpload,
} from '@aws-sdk/client-s3';
import { isMissing, onS3 } from './s3-bucket.ts';
import type { S3Publishing } from './s3-publish.ts';

type Place = Pick<S3Publishing, 'client' | 'bucket' | 'layout' | 'records'>;

/** Ends uploads of adapters and removes all that the store was tried with, as far as `isLeftover` says of the time of their last change. */
export async function removeLeftovers(
  place: Place,
  isLeftover: (changedAt: number) => boolean,
): Promise<void> {
  const { client, bucket, layout, records } = place;
  for (const prefix of [layout.adapters, layout.probe]) {
    for await (const { Key, UploadId, Initiated } of openUploads(place, prefix)) {
      if (!Initiated || !isLeftover(Initiated.getTime())) continue;
      await onS3(() =>
        client
          .send(new AbortMultipartUploadCommand({ Bucket: bucket, Key, UploadId }))
          .catch((error) => (isMissing(error) ? undefined : Promise.reject(error))),
      );
    }
  }
  for await (const { Key, LastModified } of records.list(layout.probe)) {
    if (!isLeftover(LastModified?.getTime() ?? 0)) continue;
    await onS3(() => client.send(new DeleteObjectCommand({ Bucket: bucket, Key })));
  }
}

/** Uploads that nobody has completed or aborted, of all processes; the server tells so many at a time. */
async function* openUploads({ client, bucket }: Place, prefix: string): AsyncGenerator<MultipartUpload> {
  for (let marker: string | undefined = ''; marker !== undefined; ) {
    const page: ListMultipartUploadsCommandOutput = await onS3(() =>
      client.send(
        new ListMultipartUploadsCommand({
          Bucket: bucket,
          Prefix: prefix,
          // Without a marker of the upload: servers refuse that of one that was aborted meanwhile. What is passed over of
          // the same key is found by the next sweep.
          ...(marker && { KeyMarker: marker }),
        }),
      ),
    );
    yield* page.Uploads ?? [];
    marker = page.IsTruncated ? page.NextKeyMarker || undefined : undefined;
  }
}
