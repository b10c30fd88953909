/** A multipart form with one large file, whose bytes go on as they come. */
import type { Readable } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import { Busboy, type BusboyInstance } from '@fastify/busboy';
import type { FastifyRequest } from 'fastify';
import { LoradropError } from '../base/errors.ts';
import { fineTuningErrors } from '../finetuning/errors.ts';
import { httpErrors } from './errors.ts';
import { MAX_FILENAME_CHARS } from './file-schemas.ts';

/** Fields beside the file: a purpose and an expiry of two. */
const MAX_FIELDS = 8;
/** Bytes of a field: the longest is a purpose. */
const MAX_FIELD_BYTES = 256;
/** Bytes that a form has beside its file: heads of parts and delimiters. */
const FORM_BYTES = 64 << 10;

/** A form as it was received; `file` is what the file's keeper has made of it. */
export type Received<T> = {
  readonly fields: Readonly<Record<string, string>>;
  readonly filename: string;
  readonly file: T;
};

/**
 * Reads the form of a request whose body is a stream, and hands the bytes of its field `file` to `keep` while they come; what that
 * keeps counts only once this resolves. Errors: `form-invalid`, `file-too-large`, `request-malformed` where the connection
 * ends, those of `keep`.
 */
export async function receiveUpload<T>(
  { body, headers }: FastifyRequest,
  { maxBytes, keep }: { maxBytes: number; keep: (content: AsyncIterable<Uint8Array>) => Promise<T> },
): Promise<Received<T>> {
  const tooLarge = () => fineTuningErrors.tooLarge(`A file has at most ${maxBytes} bytes here.`);
  if (Number(headers['content-length'] ?? 0) > maxBytes + FORM_BYTES) throw tooLarge();
  const source = body as Readable;
  const form = openForm(headers['content-type'] ?? '', maxBytes);
  const fields: Record<string, string> = {};
  let filename = '';
  let content: Readable | undefined;
  let keeping: Promise<T> | undefined;
  const { promise: whole, resolve, reject } = Promise.withResolvers<void>();
  const invalid = (detail: string) => () => reject(httpErrors.formInvalid(detail));

  form.on('field', (name, value, nameTruncated, valueTruncated) => {
    if (nameTruncated || valueTruncated || Object.hasOwn(fields, name))
      invalid('A field is too long or sent twice.')();
    else Object.defineProperty(fields, name, { value, enumerable: true });
  });
  form.on('file', (name: string | undefined, stream: Readable, given: string | undefined) => {
    // A file that is not wanted, or that nobody reads to its end, must not fail on its own.
    stream.on('error', () => undefined);
    stream.once('limit', () => reject(tooLarge()));
    if (name !== 'file' || content) return invalid('One file is taken, in the field `file`.')();
    filename = given ?? '';
    content = stream;
    keeping = keep(stream);
    keeping.catch(reject);
  });
  for (const limit of ['partsLimit', 'filesLimit', 'fieldsLimit'] as const) {
    form.on(limit, invalid('The form has too many parts.'));
  }
  const malformed = invalid('The form is cut off or malformed.');
  form.on('error', malformed);
  form.once('finish', resolve);
  const cut = () => reject(httpErrors.requestMalformed('The connection ended before the request did.'));
  source.once('error', cut);
  source.once('close', () => source.readableEnded || cut());
  source.once('end', async () => {
    await keeping?.catch(() => undefined);
    // Of some cut heads of parts Busboy tells neither an end nor an error; of everything else it has told by the next turn.
    await setImmediate();
    await setImmediate();
    malformed();
  });
  source.pipe(form);
  try {
    await whole;
    if (!keeping) throw httpErrors.formInvalid('There is no file; send it in the field `file`.');
    const file = await keeping;
    return { fields, filename: checkFilename(filename), file };
  } catch (error) {
    // The rest of the body stays unread, so that there is a connection to answer on.
    source.unpipe(form);
    source.pause();
    content?.destroy(error as Error);
    await keeping?.catch(() => undefined);
    throw error;
  }
}

function openForm(contentType: string, maxBytes: number): BusboyInstance {
  try {
    return new Busboy({
      headers: { 'content-type': contentType },
      limits: {
        files: 1,
        fileSize: maxBytes,
        fields: MAX_FIELDS,
        fieldSize: MAX_FIELD_BYTES,
        fieldNameSize: MAX_FIELD_BYTES,
        parts: MAX_FIELDS + 1,
        headerSize: 8192,
      },
    });
  } catch (cause) {
    if (cause instanceof LoradropError) throw cause;
    throw httpErrors.formInvalid('The Content-Type names no boundary.', { cause });
  }
}

/** The name as the client gave it: shown in listings, and never a path here. */
function checkFilename(name: string): string {
  const isUsable =
    name !== '' && name.length <= MAX_FILENAME_CHARS && name.isWellFormed() && !/\p{Cc}/u.test(name);
  if (isUsable) return name;
  throw httpErrors.formInvalid(
    `The file needs a name of 1 to ${MAX_FILENAME_CHARS} characters without control characters.`,
  );
}
