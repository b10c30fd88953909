/**
 * How an adapter becomes visible in object storage. Its files are uploads that the server keeps to itself; publishing
 * completes them one after the other, each only where its key is free, and writes the record last, again only where there
 * is none. Nobody reads a file without its record, so the record is the one step in which all of it shows.
 *
 * Several workers may publish one id at the same time, since jobs run at least once. Completing the first file tells them
 * apart: whoever finds the key taken waits for the record of the other and takes it. When none comes, the other died in
 * between: files that are the same as ours are kept as they are, others are removed and the publication begins anew. A
 * publisher that was only asleep meanwhile finds the record written, or writes one over files that are no longer its own;
 * the second is found out by looking at the files once more after the record was written, and taken back.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { DeleteObjectCommand, HeadObjectCommand } from '@aws-sdk/client-s3';
import { storeErrors } from './errors.ts';
import { isMissing, isTaken, onS3 } from './s3-bucket.ts';
import type { S3Layout } from './s3-layout.ts';
import { DAMAGED, REMOVED, type S3Records } from './s3-records.ts';
import type { PendingObject, S3UploadOptions } from './s3-upload.ts';
import type { PublishCheck, StoredAdapter } from './store.ts';

/** What publishing works with. */
export type S3Publishing = S3UploadOptions & {
  readonly layout: S3Layout;
  readonly records: S3Records;
  /** How long another publisher may take between its first file and its record before it counts as dead. */
  readonly publisherPatienceMs: number;
};

/** The wait between two looks for another publisher's record. */
const LOOK_MS = 100;
/** Rounds of publishing against others that publish and remove the same id meanwhile; one is enough in peace. */
const MAX_ROUNDS = 4;

/** Publishes these objects as the files of an adapter, or returns the adapter that is there. Rejects with what `check` throws. */
export async function publishObjects(
  context: S3Publishing,
  objects: readonly PendingObject[],
  record: StoredAdapter,
  check: PublishCheck | undefined,
): Promise<StoredAdapter> {
  const { layout, records } = context;
  const there = await findOther(context, record);
  if (there) return there;
  // Before the adapter shows, so that no crash leaves one that never expires.
  await records.touch(layout.expiryEntry(record, record.expiresAt));
  const tags = new Map<string, string | undefined>();
  for (const object of objects) {
    const other = await completeObject(context, object, record, tags);
    if (other) return other;
  }
  for (let round = 0; round < MAX_ROUNDS; round++) {
    await check?.().catch(async (error: unknown) => {
      // The files stay where they are, since another publisher may have taken them for its own, until the sweep looks.
      await records.touch(layout.expiryEntry(record, Date.now())).catch(() => undefined);
      throw error;
    });
    if (!(await records.write(record))) {
      const other = await findOther(context, record);
      if (other) return other;
      continue;
    }
    for (const [key, tag] of tags) {
      const now = await headObject(context, key);
      if (now && now.ETag === tag) continue;
      await onS3(() =>
        context.client.send(new DeleteObjectCommand({ Bucket: context.bucket, Key: layout.record(record) })),
      );
      throw storeErrors.unavailable('Another publisher or a removal came in between.');
    }
    // The adapter is there already: without this hint an equal one would be made anew, no more.
    await records
      .touch(`${layout.equals(record.tenant, record.contentKey)}${record.id}`)
      .catch(() => undefined);
    return record;
  }
  throw storeErrors.unavailable(`The place of ${record.id} is taken by something that is not an adapter.`);
}

/** Completes one file; returns the adapter of another publisher where that was first. */
async function completeObject(
  context: S3Publishing,
  object: PendingObject,
  record: StoredAdapter,
  tags: Map<string, string | undefined>,
): Promise<StoredAdapter | undefined> {
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const done = await onS3(() =>
      object.complete().then(
        (tag) => ({ tag }),
        (error) => {
          // An answer that was lost is asked for again, and then the upload is gone or its own object in the way.
          if (isTaken(error) || isMissing(error)) return undefined;
          throw error;
        },
      ),
    );
    if (done) {
      tags.set(object.key, done.tag);
      return undefined;
    }
    const seen = await headObject(context, object.key);
    if (seen && seen.ETag === object.likelyTag && seen.ContentLength === object.bytes) {
      // Our own, where an answer was lost, or that of another run of the same job.
      tags.set(object.key, seen.ETag);
      return undefined;
    }
    const other = await waitForOther(context, record);
    if (other) return other;
    const still = await headObject(context, object.key);
    if (!still) continue;
    if (still.ETag !== seen?.ETag) continue;
    await onS3(() =>
      context.client.send(new DeleteObjectCommand({ Bucket: context.bucket, Key: object.key })),
    );
  }
  throw storeErrors.unavailable(`Another publisher of ${record.id} does not come to an end.`);
}

async function waitForOther(
  context: S3Publishing,
  record: StoredAdapter,
): Promise<StoredAdapter | undefined> {
  const until = performance.now() + context.publisherPatienceMs;
  for (;;) {
    const other = await findOther(context, record);
    if (other || performance.now() >= until) return other;
    await delay(LOOK_MS);
  }
}

/** The adapter that has the id; waits while one is being removed. */
async function findOther(
  { records, publisherPatienceMs }: S3Publishing,
  record: StoredAdapter,
): Promise<StoredAdapter | undefined> {
  const until = performance.now() + publisherPatienceMs;
  for (;;) {
    const other = await records.lookUp(record);
    if (other === DAMAGED) throw storeErrors.unavailable(`The record of ${record.id} is damaged.`);
    if (other !== REMOVED) return other;
    if (performance.now() >= until) {
      throw storeErrors.unavailable(`The removal of an earlier ${record.id} has not ended.`);
    }
    await delay(LOOK_MS);
  }
}

/** What the server says of an object, or undefined when there is none. */
export async function headObject(
  { client, bucket }: Pick<S3UploadOptions, 'client' | 'bucket'>,
  key: string,
) {
  return await onS3(async () => {
    try {
      return await client.send(new HeadObjectCommand({ Bucket: bucket, Key: key }));
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  });
}
