/** What lies in a bucket, beside the service's own view of it. */
import {
  AbortMultipartUploadCommand,
  ListMultipartUploadsCommand,
  type MultipartUpload,
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

async function listUploads(client: S3Client, prefix: string): Promise<MultipartUpload[]> {
  const { Uploads = [] } = await client.send(
    new ListMultipartUploadsCommand({ Bucket: TEST_BUCKET, Prefix: prefix }),
  );
  return Uploads;
}

/** Uploads in parts below a prefix that were neither completed nor aborted, as `key (upload id, begun at)`. */
export async function openUploads(client: S3Client, prefix: string): Promise<string[]> {
  return (await listUploads(client, prefix)).map(shown);
}

/** The same, each with what comes of an attempt to end it: whether it was overlooked, or is one that the server does not end. */
export async function endUploads(client: S3Client, prefix: string): Promise<string[]> {
  return Promise.all(
    (await listUploads(client, prefix)).map(async (upload) => {
      const { Key, UploadId } = upload;
      const answer = await client
        .send(new AbortMultipartUploadCommand({ Bucket: TEST_BUCKET, Key, UploadId }))
        .then(
          () => 'ends when it is asked to',
          (error: Error) => `does not end: ${error.name} ${error.message}`,
        );
      return `${shown(upload)}, which ${answer}`;
    }),
  );
}

const shown = ({ Key, UploadId, Initiated }: MultipartUpload) =>
  `${Key} (${UploadId}, ${Initiated?.toISOString()})`;
