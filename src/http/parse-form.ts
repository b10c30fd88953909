/**
 * A multipart form (RFC 7578) in its parts. The form is bounded and whole already, and its parts are not copied; the media
 * types of parts are kept with their parameters, which parsers for streams drop.
 */
import { decodeUtf8 } from '../prompts/decode-text.ts';
import { httpErrors } from './errors.ts';

/** A part of a form: a file where it has a file name, else a field. */
export type FormPart = {
  readonly name: string;
  readonly fileName?: string;
  /** With its parameters; empty where it has none. */
  readonly contentType: string;
  readonly bytes: Buffer;
};

/** Longest boundary: RFC 2046 allows 70 characters, and clients that write more write dashes. */
const MAX_BOUNDARY_CHARS = 256;
/** Largest head of a part: a name, a file name and a media type. */
const MAX_HEAD_BYTES = 8192;

/**
 * The parts of a form, at most `maxParts`. A preamble and an epilogue are ignored. Errors: `form-invalid` for forms that are
 * cut off, malformed, have more parts, or parts that are encoded (base64, quoted-printable); `text-not-utf8` for heads.
 */
export function parseForm(body: Buffer, contentType: string, maxParts: number): FormPart[] {
  const found = /;\s*boundary\s*=\s*(?:"([^"]+)"|([^\s;"]+))/i.exec(contentType);
  const boundary = found?.[1] ?? found?.[2] ?? '';
  if (boundary === '' || boundary.length > MAX_BOUNDARY_CHARS) throw invalid();
  const parts: FormPart[] = [];
  let delimiter = findDelimiter(body, boundary, 0);
  while (delimiter && !delimiter.last) {
    if (parts.length === maxParts) throw invalid();
    const headEnd = body.indexOf('\r\n\r\n', delimiter.end - 2);
    if (headEnd === -1 || headEnd - delimiter.end > MAX_HEAD_BYTES) throw invalid();
    const next = findDelimiter(body, boundary, headEnd + 2);
    if (!next) break;
    const head = decodeUtf8(body.subarray(delimiter.end, Math.max(delimiter.end, headEnd)));
    parts.push({ ...parseHead(head), bytes: body.subarray(headEnd + 4, Math.max(headEnd + 4, next.start)) });
    delimiter = next;
  }
  if (!delimiter?.last) throw invalid();
  return parts;
}

function invalid() {
  return httpErrors.formInvalid('The form is cut off, malformed or has too many parts.');
}

/** Where a delimiter stands, with the line break before it and all of its line; `last` ends the form. */
type Delimiter = { readonly start: number; readonly end: number; readonly last: boolean };

function findDelimiter(body: Buffer, boundary: string, from: number): Delimiter | undefined {
  const marker = Buffer.from(`--${boundary}`);
  for (let at = body.indexOf(marker, from); at !== -1; at = body.indexOf(marker, at + 1)) {
    const startsLine = at === 0 || (body[at - 2] === 0x0d && body[at - 1] === 0x0a);
    if (!startsLine) continue;
    let end = at + marker.length;
    if (body[end] === 0x2d && body[end + 1] === 0x2d) return { start: at - 2, end, last: true };
    while (body[end] === 0x20 || body[end] === 0x09) end += 1;
    // What goes on otherwise is a longer text that begins like the boundary.
    if (body[end] === 0x0d && body[end + 1] === 0x0a) return { start: at - 2, end: end + 2, last: false };
  }
  return undefined;
}

function parseHead(head: string): Omit<FormPart, 'bytes'> {
  const headers = new Map<string, string>();
  for (const line of head.split('\r\n')) {
    const colon = line.indexOf(':');
    headers.set(line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim());
  }
  const encoding = headers.get('content-transfer-encoding')?.toLowerCase() ?? 'binary';
  if (!['7bit', '8bit', 'binary'].includes(encoding))
    throw httpErrors.formInvalid('A part is encoded; send its bytes as they are.');
  const disposition = headers.get('content-disposition') ?? '';
  const parameters = new Map<string, string>();
  for (const [, key, quoted, plain] of disposition.matchAll(
    /;\s*([\w*]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))/g,
  )) {
    parameters.set(key!.toLowerCase(), quoted?.replaceAll('\\"', '"') ?? plain!);
  }
  const name = parameters.get('name');
  if (!/^form-data\s*(;|$)/i.test(disposition) || name === undefined) throw invalid();
  const fileName = parameters.get('filename') ?? parameters.get('filename*');
  return {
    name,
    ...(fileName !== undefined && { fileName }),
    contentType: headers.get('content-type') ?? '',
  };
}
