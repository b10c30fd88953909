/** Sending an adapter's bytes: a file with validators and ranges (RFC 9110), or all of it as a tar. */
import type { IncomingHttpHeaders } from 'node:http';
import { Readable } from 'node:stream';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { adapterArchive } from '../adapter/archive.ts';
import type { Sha256 } from '../base/digest.ts';
import { fileOf } from '../store/file-of.ts';
import type { ByteRange, StoredAdapter, TenantStore } from '../store/store.ts';
import { parseByteRange } from './byte-range.ts';
import { httpErrors } from './errors.ts';
import { SERVED_FILES, type ServedFile } from './present-adapter.ts';

type Reader = Pick<TenantStore, 'read'>;

/** Media type of an archive. */
export const ARCHIVE_TYPE = 'application/x-tar';

/** True when an If-None-Match list has the tag (weak comparison, as the RFC wants for it) or is `*`. */
export function listsTag(header: string | undefined, tag: string): boolean {
  return (header ?? '').split(',').some((member) => ['*', tag, `W/${tag}`].includes(member.trim()));
}

/**
 * False where If-Match (strong comparison), or without it If-Unmodified-Since, says that the client wants another version.
 */
function isWantedVersion(
  headers: IncomingHttpHeaders,
  { tag, createdAt }: { tag: string; createdAt: number },
): boolean {
  const match = headers['if-match'];
  if (match !== undefined) return match.split(',').some((member) => ['*', tag].includes(member.trim()));
  const since = Date.parse(headers['if-unmodified-since'] ?? '');
  // Dates in headers have whole seconds.
  return Number.isNaN(since) || Math.floor(createdAt / 1000) * 1000 <= since;
}

/**
 * Answers GET or HEAD for one file: 304 where the client has it, 206 for a single range, else the whole. The ETag is the
 * SHA-256. Errors: `adapter-not-found`, `precondition-failed`, `range-not-satisfiable`, `store-unavailable`.
 */
export function sendAdapterFile(
  store: Reader,
  adapter: StoredAdapter,
  name: ServedFile,
  context: { request: FastifyRequest; reply: FastifyReply },
): Promise<FastifyReply> {
  const { bytes, sha256 } = fileOf(adapter, name);
  const { id, createdAt } = adapter;
  const read: SentFile['read'] = (options) => store.read(id, name, options);
  return sendFile({ bytes, sha256, createdAt, mediaType: SERVED_FILES[name], read }, context);
}

/** A file as it is sent; `createdAt` is in milliseconds since the epoch. */
export type SentFile = {
  readonly bytes: number;
  /** Digest of its bytes; for a file that is made while it is sent, of all that they depend on. */
  readonly sha256: Sha256;
  /** True where nobody has computed the digest of the bytes themselves. */
  readonly isMade?: true;
  readonly createdAt: number;
  readonly mediaType: string;
  read(options: { range?: ByteRange }): Promise<AsyncIterable<Uint8Array>>;
};

/** Answers with any file as {@link sendAdapterFile} does, and with the same errors. */
export async function sendFile(
  { bytes, sha256, isMade, createdAt, mediaType, read }: SentFile,
  { request, reply }: { request: FastifyRequest; reply: FastifyReply },
): Promise<FastifyReply> {
  const tag = `"${sha256}"`;
  // Compressed on the way, a file would have neither its length nor its ranges.
  const caching = 'private, no-cache, no-transform';
  const validators = { etag: tag, 'accept-ranges': 'bytes', 'cache-control': caching };
  // Of the answer to a POST the client can have nothing yet.
  const safe = request.method === 'GET' || request.method === 'HEAD';
  if (safe && !isWantedVersion(request.headers, { tag, createdAt })) {
    throw httpErrors.precondition('The file has another ETag, or is newer.');
  }
  if (safe && listsTag(request.headers['if-none-match'], tag))
    return reply.headers(validators).code(304).send();
  // A range of another version must not be glued to what the client has (and dates are too coarse to tell versions).
  const ifRange = request.headers['if-range'];
  const wanted = request.method === 'GET' && (ifRange === undefined || ifRange === tag);
  const range = wanted ? parseByteRange(request.headers.range, bytes) : undefined;
  if (range === 'unsatisfiable') {
    reply.header('content-range', `bytes */${bytes}`);
    throw httpErrors.rangeNotSatisfiable(`The file has ${bytes} bytes.`);
  }
  const content = request.method === 'HEAD' ? undefined : await read(range ? { range } : {});
  reply.type(mediaType).headers({
    ...validators,
    'last-modified': new Date(createdAt).toUTCString(),
    ...(!isMade && { 'repr-digest': `sha-256=:${Buffer.from(sha256, 'hex').toString('base64')}:` }),
    'content-length': String(range ? range.end - range.start + 1 : bytes),
  });
  if (range) reply.code(206).header('content-range', `bytes ${range.start}-${range.end}/${bytes}`);
  return reply.send(content && Readable.from(content, { objectMode: false }));
}

/** Answers GET or HEAD with all files as a tar, in one folder named after the adapter. Errors: `adapter-not-found`, `store-unavailable`. */
export function sendAdapterArchive(
  store: Reader,
  adapter: StoredAdapter,
  { request, reply }: { request: FastifyRequest; reply: FastifyReply },
): FastifyReply {
  const files = adapter.files.map(({ name, bytes }) => ({
    name,
    bytes,
    read: (options: { signal?: AbortSignal }) => store.read(adapter.id, name, options),
  }));
  const archive = adapterArchive(adapter.id, files, { modifiedAt: adapter.createdAt });
  reply
    .type(ARCHIVE_TYPE)
    .header('content-length', String(archive.bytes))
    .header('content-disposition', `attachment; filename="${adapter.id}.tar"`);
  if (request.method === 'HEAD') return reply.send();
  return reply.send(Readable.from(archive.stream(), { objectMode: false }));
}
