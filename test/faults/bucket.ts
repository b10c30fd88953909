/** What lies in a bucket, beside the service's own view of it. */
import {
  AbortMultipartUploadCommand,
  ListMultipartUploadsCommand,
  paginateListObjectsV2,
  type S3Client,
} from '@aws-sdk/client-s3';
import { TEST_BUCKET } from '../helpers/object-storage.ts';

/** All objects below a prefix. */
export async function listBucket(
  client: S3Client,
  prefix: string,
): Promise<{ readonly key: string; readonly bytes: number }[]> {
  const found = [];
  for await (const { Contents = [] } of paginateListObjectsV2(
    { client },
    { Bucket: TEST_BUCKET, Prefix: prefix },
  )) {
    found.push(...Contents.map(({ Key = '', Size = 0 }) => ({ key: Key, bytes: Size })));
  }
  return found;
}

/** Uploads in parts below a prefix that were neither completed nor aborted, as `key (upload id, begun at)`. */
export async function openUploads(client: S3Client, prefix: string): Promise<string[]> {
  const { Uploads = [] } = await client.send(
    new ListMultipartUploadsCommand({ Bucket: TEST_BUCKET, Prefix: prefix }),
  );
  return Uploads.map(({ Key, UploadId, Initiated }) => `${Key} (${UploadId}, ${Initiated?.toISOString()})`);
}

/** What came of an attempt to end each of them: whether it was overlooked, or is one that the server does not end. */
export async function endUploads(client: S3Client, prefix: string): Promise<string[]> {
  const { Uploads = [] } = await client.send(
    new ListMultipartUploadsCommand({ Bucket: TEST_BUCKET, Prefix: prefix }),
  );
  return Promise.all(
    Uploads.map(async ({ Key, UploadId }) => {
      const answer = await client
        .send(new AbortMultipartUploadCommand({ Bucket: TEST_BUCKET, Key, UploadId }))
        .then(
          () => 'ends when it is asked to',
          (error: Error) => `does not end: ${error.name} ${error.message}`,
        );
      return `${UploadId} ${answer}`;
    }),
  );
}
