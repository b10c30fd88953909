/** One file on its way into object storage: parts go while the bytes are still made, and nothing shows before it is completed. */
import { createHash } from 'node:crypto';
import {
  AbortMultipartUploadCommand,
  type CompletedPart,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { storeErrors } from './errors.ts';
import { isMissing, onS3 } from './s3-bucket.ts';
import type { StoredFile } from './store.ts';

/** How files are sent. */
export type S3UploadOptions = {
  readonly client: S3Client;
  readonly bucket: string;
  readonly partBytes: number;
  /** Parts on their way at once. A file takes `partBytes` × (this + 1) of memory at most: one more is being filled. */
  readonly partsInFlight: number;
  /** Server-side encryption; undefined leaves it to the bucket. */
  readonly encryption?: 'AES256' | 'aws:kms';
  readonly kmsKeyId?: string;
  /** Kept with every object, by the names with which clients of the server see it. */
  readonly metadata?: Readonly<Record<string, string>>;
};

/** A file whose bytes are with the server or held ready, and which no reader sees yet. */
export type PendingObject = {
  readonly key: string;
  readonly bytes: number;
  /** The ETag the object will have where the server makes ETags of MD5s, as all do that do not encrypt with keys of their own. */
  readonly likelyTag: string;
  /**
   * Makes the object, unless one has its key. Errors: the SDK's `PreconditionFailed` and `NoSuchUpload`; call it inside
   * {@link onS3}. Its ETag comes back.
   */
  complete(): Promise<string | undefined>;
  /** Drops what was sent. Does nothing after `complete`. */
  abort(): Promise<void>;
};

/** The object store's own bound on parts of one object. */
const MAX_PARTS = 10_000;

/** The fields of a request that makes an object. */
export function objectFields({
  encryption,
  kmsKeyId,
  metadata,
}: Pick<S3UploadOptions, 'encryption' | 'kmsKeyId' | 'metadata'>) {
  return {
    ...(metadata && { Metadata: metadata }),
    ...(encryption && { ServerSideEncryption: encryption }),
    ...(kmsKeyId !== undefined && { SSEKMSKeyId: kmsKeyId }),
  };
}

/** An object of a few bytes, made with one request once it is completed. */
export function smallObject(options: S3UploadOptions, key: string, body: Uint8Array): PendingObject {
  return {
    key,
    bytes: body.length,
    likelyTag: `"${md5(body).toString('hex')}"`,
    async complete() {
      const { ETag } = await options.client.send(
        new PutObjectCommand({
          Bucket: options.bucket,
          Key: key,
          Body: body,
          IfNoneMatch: '*',
          ChecksumSHA256: base64Sha256(body),
          ...objectFields(options),
        }),
      );
      return ETag;
    },
    abort: async () => {},
  };
}

/** An upload of several parts that is open with the server. */
export async function beginMultipart(
  options: S3UploadOptions,
  key: string,
  /** Whether the server is to keep and compare a SHA-256 of each part. */
  { checksums }: { checksums: boolean },
) {
  const { client, bucket } = options;
  const { UploadId } = await client.send(
    new CreateMultipartUploadCommand({
      Bucket: bucket,
      Key: key,
      ...(checksums && { ChecksumAlgorithm: 'SHA256' as const }),
      ...objectFields(options),
    }),
  );
  const upload = { Bucket: bucket, Key: key, UploadId };
  return {
    upload,
    async complete(parts: readonly CompletedPart[]) {
      const sorted = parts.toSorted((a, b) => a.PartNumber! - b.PartNumber!);
      const { ETag } = await client.send(
        new CompleteMultipartUploadCommand({
          ...upload,
          IfNoneMatch: '*',
          MultipartUpload: { Parts: sorted },
        }),
      );
      return ETag;
    },
    async abort() {
      await client.send(new AbortMultipartUploadCommand(upload)).catch((error) => {
        if (!isMissing(error)) throw error;
      });
    },
  };
}

/**
 * Sends a file's bytes to `key` as they come. A file of at most one part is held back whole and sent when it is completed,
 * which leaves nothing with the server if the process dies before. Errors: those of `content` as they are, `store-full`,
 * `store-unavailable`; the upload is aborted then.
 */
export async function uploadFile(
  options: S3UploadOptions,
  { key, name }: { key: string; name: string },
  content: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  signal?: AbortSignal,
): Promise<{ readonly file: StoredFile; readonly object: PendingObject }> {
  const sender = new PartSender(options, key, signal);
  const hash = createHash('sha256');
  let bytes = 0;
  try {
    for await (const chunk of content) {
      signal?.throwIfAborted();
      hash.update(chunk);
      bytes += chunk.length;
      await sender.add(chunk);
    }
    const object = await sender.end(bytes);
    return { file: { name, bytes, sha256: hash.digest('hex') }, object };
  } catch (error) {
    await sender.abort().catch(() => undefined);
    throw error;
  }
}

type Multipart = Awaited<ReturnType<typeof beginMultipart>>;

/** Fills buffers of one part and sends the full ones, so many at a time; buffers are used again. */
class PartSender {
  readonly #options: S3UploadOptions;
  readonly #key: string;
  readonly #outer: AbortSignal | undefined;
  readonly #sending = new Set<Promise<void>>();
  readonly #parts: CompletedPart[] = [];
  readonly #spare: Buffer[] = [];
  #multipart: Multipart | undefined;
  #filling: Buffer | undefined;
  #filled = 0;
  #begun = 0;
  #failure: { readonly error: unknown } | undefined;

  constructor(options: S3UploadOptions, key: string, signal: AbortSignal | undefined) {
    this.#options = options;
    this.#key = key;
    this.#outer = signal;
  }

  async add(chunk: Uint8Array): Promise<void> {
    const { partBytes } = this.#options;
    for (let from = 0; from < chunk.length; ) {
      if (this.#failure) throw this.#failure.error;
      // Only when more is to come, so that a file of exactly one part is sent whole.
      if (this.#filled === partBytes) await this.#send();
      this.#filling ??= this.#spare.pop() ?? Buffer.allocUnsafeSlow(partBytes);
      const length = Math.min(partBytes - this.#filled, chunk.length - from);
      this.#filling.set(chunk.subarray(from, from + length), this.#filled);
      this.#filled += length;
      from += length;
    }
  }

  async end(bytes: number): Promise<PendingObject> {
    const key = this.#key;
    if (!this.#multipart) {
      const whole = Buffer.from(this.#filling?.subarray(0, this.#filled) ?? []);
      return smallObject(this.#options, key, whole);
    }
    await this.#send();
    while (this.#sending.size > 0) await Promise.race(this.#sending);
    if (this.#failure) throw this.#failure.error;
    const multipart = this.#multipart;
    const digests = this.#parts
      .toSorted((a, b) => a.PartNumber! - b.PartNumber!)
      .map(({ ETag = '' }) => Buffer.from(ETag.replaceAll('"', ''), 'hex'));
    return {
      key,
      bytes,
      likelyTag: `"${md5(Buffer.concat(digests)).toString('hex')}-${digests.length}"`,
      complete: () => multipart.complete(this.#parts),
      abort: () => multipart.abort(),
    };
  }

  async abort(): Promise<void> {
    // They are not cut off: a server may still take in a part whose connection has gone, and one that it takes in after
    // the abort stays behind.
    await Promise.all(this.#sending);
    await this.#multipart?.abort();
  }

  async #send(): Promise<void> {
    const buffer = this.#filling;
    if (!buffer) return;
    const number = ++this.#begun;
    if (number > MAX_PARTS) {
      throw storeErrors.unavailable(`The file has more than ${MAX_PARTS} parts. Raise S3_PART_BYTES.`);
    }
    this.#multipart ??= await onS3(
      () => beginMultipart(this.#options, this.#key, { checksums: true }),
      this.#outer,
    );
    while (this.#sending.size >= this.#options.partsInFlight) await Promise.race(this.#sending);
    if (this.#failure) throw this.#failure.error;
    const sending = this.#sendPart(number, buffer.subarray(0, this.#filled)).then(
      () => {
        this.#spare.push(buffer);
        this.#sending.delete(sending);
      },
      (error) => {
        this.#failure ??= { error };
        this.#sending.delete(sending);
      },
    );
    this.#sending.add(sending);
    this.#filling = undefined;
    this.#filled = 0;
  }

  async #sendPart(number: number, body: Buffer): Promise<void> {
    const { client } = this.#options;
    const checksum = base64Sha256(body);
    const command = new UploadPartCommand({
      ...this.#multipart!.upload,
      PartNumber: number,
      Body: body,
      ChecksumSHA256: checksum,
    });
    const answer = await onS3(() => client.send(command), this.#outer);
    if (answer.ChecksumSHA256 !== undefined && answer.ChecksumSHA256 !== checksum) {
      throw storeErrors.unavailable('The object store has other bytes of a part than were sent.');
    }
    this.#parts.push({ PartNumber: number, ETag: answer.ETag, ChecksumSHA256: checksum });
  }
}

/** Tells objects apart; nothing is trusted because of it. */
function md5(bytes: Uint8Array): Buffer {
  return createHash('md5').update(bytes).digest();
}

function base64Sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('base64');
}
