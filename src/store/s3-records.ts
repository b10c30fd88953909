/** Records and index entries in object storage. */
import { type _Object, GetObjectCommand, ListObjectsV2Command, PutObjectCommand } from '@aws-sdk/client-s3';
import { isId, type TenantId } from '../base/ids.ts';
import { decodeRecord, encodeRecord, MAX_RECORD_BYTES } from './record.ts';
import { isMissing, isTaken, onS3 } from './s3-bucket.ts';
import type { S3Layout } from './s3-layout.ts';
import { objectFields, type S3UploadOptions, smallObject } from './s3-upload.ts';
import type { StoredAdapter } from './store.ts';

/** An adapter whose record cannot be used. */
export const DAMAGED = 'damaged';
/** An adapter that is being removed: its files go, then this mark, which stands where the record was. */
export const REMOVED = 'removed';

/** What stands at the place of a record. */
export type RecordState = StoredAdapter | typeof DAMAGED | typeof REMOVED | undefined;

const REMOVED_MARK = '{"removed":true}\n';

/** Reads and writes of records. */
export type S3Records = {
  lookUp(name: TenantId): Promise<RecordState>;
  /** Writes a record unless there is something in its place; false then. */
  write(record: StoredAdapter): Promise<boolean>;
  /** Puts {@link REMOVED} in place of a record. */
  markRemoved(name: TenantId): Promise<void>;
  /** Makes an empty object. */
  touch(key: string): Promise<void>;
  /** Objects below a prefix, in the order of their keys. */
  list(prefix: string): AsyncGenerator<_Object & { readonly Key: string }>;
};

/** Makes {@link S3Records}. */
export function createS3Records(options: S3UploadOptions, layout: S3Layout): S3Records {
  const { client, bucket } = options;
  const put = (key: string, body: string) =>
    onS3(() =>
      client.send(
        new PutObjectCommand({
          Bucket: bucket,
          Key: key,
          Body: Buffer.from(body),
          ContentLength: body.length,
          ...objectFields(options),
        }),
      ),
    );
  return {
    async lookUp(name) {
      if (!isId(name.id)) return undefined;
      const answer = await onS3(async () => {
        try {
          const { Body } = await client.send(
            new GetObjectCommand({
              Bucket: bucket,
              Key: layout.record(name),
              // One byte more than a record may have, so that a larger one is seen to be none.
              Range: `bytes=0-${MAX_RECORD_BYTES}`,
            }),
          );
          return await Body!.transformToByteArray();
        } catch (error) {
          // An empty object has no range.
          if (error instanceof Error && error.name === 'InvalidRange') return new Uint8Array(0);
          if (isMissing(error)) return undefined;
          throw error;
        }
      });
      if (!answer) return undefined;
      if (Buffer.from(answer).toString() === REMOVED_MARK) return REMOVED;
      const record = decodeRecord(answer);
      return record?.id === name.id && record.tenant === name.tenant ? record : DAMAGED;
    },
    async write(record) {
      const object = smallObject(options, layout.record(record), encodeRecord(record));
      return await onS3(() =>
        object.complete().then(
          () => true,
          (error) => {
            if (isTaken(error)) return false;
            throw error;
          },
        ),
      );
    },
    markRemoved: async (name) => void (await put(layout.record(name), REMOVED_MARK)),
    touch: async (key) => void (await put(key, '')),
    async *list(prefix) {
      for (let token: string | undefined; ; ) {
        const page = await onS3(() =>
          client.send(
            new ListObjectsV2Command({
              Bucket: bucket,
              Prefix: prefix,
              ...(token !== undefined && { ContinuationToken: token }),
            }),
          ),
        );
        for (const each of page.Contents ?? []) if (each.Key !== undefined) yield { ...each, Key: each.Key };
        token = page.IsTruncated ? page.NextContinuationToken : undefined;
        if (token === undefined) return;
      }
    },
  };
}
