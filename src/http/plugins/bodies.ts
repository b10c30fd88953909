/** Which bodies are taken: JSON is parsed here, bodies of other types stay bytes for their reader, unpacked. */
import type { FastifyRequest } from 'fastify';
import { decodeText, encodingOf } from '../../prompts/decode-text.ts';
import { CODINGS, type Coding, unpack } from '../../prompts/unpack.ts';
import { httpErrors } from '../errors.ts';
import { FORM_TYPE, PROMPT_TYPES } from '../prompt-types.ts';
import type { App, HttpLimits } from '../services.ts';
import { wrongType } from '../wrong-type.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Media types of the bodies that the route takes. Derived from its schema; absent where it takes none. */
    consumes?: readonly string[];
  }
}

const JSON_TYPE = 'application/json';

/** Refuses text whose media type names a charset that it is not read in. Errors: `media-type-unsupported`. */
export function checkCharset(contentType: string, bytes: Uint8Array): void {
  const charset = /;\s*charset\s*=\s*"?([^\s;"]+)/i.exec(contentType)?.[1]?.toLowerCase();
  if (charset === undefined || /^(utf-?8|us-ascii)$/.test(charset)) return;
  const marked = encodingOf(bytes);
  if (charset === marked || (charset === 'utf-16' && marked.startsWith('utf-16'))) return;
  throw httpErrors.mediaType('Text is taken in UTF-8, and in UTF-16 with a byte-order mark.');
}

function codingOf({ headers }: FastifyRequest): Coding | 'identity' | undefined {
  const name = (headers['content-encoding'] ?? 'identity')
    .trim()
    .toLowerCase()
    .replace(/^x-gzip$/, 'gzip');
  return name === 'identity' ? name : CODINGS.find((coding) => coding === name);
}

/** The bytes that a body stands for, its Content-Encoding undone, with a charset that is read. */
async function bytesOf(request: FastifyRequest, body: Buffer, limits: BodyLimits): Promise<Buffer> {
  const coding = codingOf(request)!;
  const bytes = coding === 'identity' ? body : await unpack(body, coding, limits.maxBodyBytes);
  checkCharset(request.headers['content-type'] ?? '', bytes);
  return bytes;
}

type BodyLimits = Pick<HttpLimits, 'maxBodyBytes'>;

/** The media types that a body's schema names; a schema without a list of them is JSON's. */
function typesOf(body: unknown): readonly string[] | undefined {
  if (body === null || typeof body !== 'object') return undefined;
  return 'content' in body ? Object.keys(body.content as object) : [JSON_TYPE];
}

/**
 * Makes the application take JSON, the types of prompts and multipart forms, and nothing else; and of a route with a body only
 * the types that its schema names.
 */
export async function installBodies(app: App, limits: BodyLimits): Promise<void> {
  app.addHook('onRoute', (route) => {
    const consumes = typesOf(route.schema?.body);
    if (consumes) route.config = { ...route.config, consumes };
  });
  app.addHook('preParsing', async ({ mediaType, headers, routeOptions }) => {
    const { consumes } = routeOptions.config;
    if (consumes && mediaType !== undefined && !consumes.includes(mediaType))
      throw httpErrors.mediaType(wrongType(headers['content-type'], consumes));
  });
  app.addHook('preParsing', async (request) => {
    const coding = codingOf(request);
    if (!coding)
      throw httpErrors.mediaType('Bodies are taken as they are, or with the Content-Encoding gzip or zstd.');
    if (coding !== 'identity' && request.mediaType === FORM_TYPE)
      throw httpErrors.mediaType('Forms are not taken compressed; the files in them are.');
  });
  // The framework's own parser guards against `__proto__`, but it would replace broken UTF-8.
  const parseJson = app.getDefaultJsonParser('error', 'error');
  app.removeAllContentTypeParsers();
  app.addContentTypeParser<Buffer>(
    JSON_TYPE,
    { parseAs: 'buffer' },
    async (request: FastifyRequest, body: Buffer) => {
      // Clients send the type with requests that have no body; where one is needed, the route says so.
      if (body.length === 0) return undefined;
      const text = decodeText(await bytesOf(request, body, limits));
      const { promise, resolve, reject } = Promise.withResolvers<unknown>();
      void parseJson(request, text, (error, value) => (error ? reject(jsonInvalid(error)) : resolve(value)));
      return promise;
    },
  );
  app.addContentTypeParser<Buffer>(
    Object.keys(PROMPT_TYPES),
    { parseAs: 'buffer' },
    (request: FastifyRequest, body: Buffer) => bytesOf(request, body, limits),
  );
  app.addContentTypeParser<Buffer>(
    FORM_TYPE,
    { parseAs: 'buffer' },
    async (_request: FastifyRequest, body: Buffer) => body,
  );
}

/** The parser's message quotes the body, so only the place is taken from it. */
function jsonInvalid({ message }: Error) {
  const position = /at position (\d+)/.exec(message)?.[1];
  return httpErrors.jsonInvalid(
    position === undefined
      ? 'The body cannot be parsed.'
      : `The body cannot be parsed at character ${position}.`,
  );
}
