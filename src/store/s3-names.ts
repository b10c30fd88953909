/** States of names in object storage. */
import { DeleteObjectCommand, GetObjectCommand } from '@aws-sdk/client-s3';
import { MAX_STATE_BYTES, type NameLog } from './names.ts';
import { isMissing, isTaken, onS3 } from './s3-bucket.ts';
import type { S3Publishing } from './s3-publish.ts';
import { smallObject } from './s3-upload.ts';

/** Digits of a number, so that keys are in order. */
const NUMBER_DIGITS = 10;

/** The log of a tenant's names below a store's prefix. */
export function createS3NameLog(context: S3Publishing, tenant: string): NameLog {
  const { client, bucket, records, layout } = context;
  const all = layout.names(tenant);
  const place = (name: string, number: number) =>
    `${all}${name}/${String(number).padStart(NUMBER_DIGITS, '0')}`;
  return {
    async names() {
      const names = new Set<string>();
      for await (const { Key } of records.list(all)) names.add(Key.slice(all.length, Key.lastIndexOf('/')));
      return [...names];
    },
    async numbers(name) {
      const numbers: number[] = [];
      for await (const { Key } of records.list(`${all}${name}/`)) {
        numbers.push(Number(Key.slice(Key.lastIndexOf('/') + 1)));
      }
      return numbers.filter(Number.isInteger);
    },
    read: (name, number) =>
      onS3(async () => {
        try {
          const { Body } = await client.send(
            new GetObjectCommand({
              Bucket: bucket,
              Key: place(name, number),
              Range: `bytes=0-${MAX_STATE_BYTES}`,
            }),
          );
          return await Body!.transformToByteArray();
        } catch (error) {
          if (isMissing(error)) return undefined;
          throw error;
        }
      }),
    create: (name, number, bytes) =>
      onS3(() =>
        smallObject(context, place(name, number), bytes)
          .complete()
          .then(
            () => true,
            (error) => {
              if (isTaken(error)) return false;
              throw error;
            },
          ),
      ),
    remove: async (name, number) =>
      void (await onS3(() =>
        client.send(new DeleteObjectCommand({ Bucket: bucket, Key: place(name, number) })),
      )),
  };
}
