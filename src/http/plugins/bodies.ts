/** Which bodies are taken, and how bytes become text and JSON: strict UTF-8, strict JSON, no charset but UTF-8. */
import multipart from '@fastify/multipart';
import type { FastifyRequest } from 'fastify';
import { decodeUtf8 } from '../../prompts/parse-prompts.ts';
import { httpErrors } from '../errors.ts';
import type { App, HttpLimits } from '../services.ts';

/** Media types of prompts as lines of JSON. */
export const JSON_LINES_TYPES = ['application/x-ndjson', 'application/jsonl'] as const;

/** Files and fields of a form: prompts come in a few files, options are eight fields. */
const MAX_FORM_FILES = 32;
const MAX_FORM_FIELDS = 16;
/** Bytes of an option's value in a form. */
const MAX_FORM_FIELD_BYTES = 4096;

function textOf(request: FastifyRequest, body: Buffer): string {
  const charset = /;\s*charset\s*=\s*"?([^\s;"]+)/i.exec(request.headers['content-type'] ?? '')?.[1];
  if (charset !== undefined && !/^(utf-?8|us-ascii)$/i.test(charset)) {
    throw httpErrors.mediaType('Text is taken in UTF-8 alone.');
  }
  return decodeUtf8(body);
}

/** Makes the application take JSON, plain text, JSON lines and multipart forms, and nothing else. */
export async function installBodies(app: App, limits: Pick<HttpLimits, 'maxBodyBytes'>): Promise<void> {
  app.addHook('preParsing', async ({ headers }) => {
    const encoding = headers['content-encoding'];
    if (encoding !== undefined && encoding.toLowerCase() !== 'identity') {
      throw httpErrors.mediaType('Bodies are not taken compressed.');
    }
  });
  // The framework's own parser guards against `__proto__`, but it would replace broken UTF-8.
  const parseJson = app.getDefaultJsonParser('error', 'error');
  app.removeAllContentTypeParsers();
  app.addContentTypeParser<Buffer>('application/json', { parseAs: 'buffer' }, (request, body, done) => {
    const text = textOf(request, body);
    // Clients send the type with requests that have no body; where one is needed, the route says so.
    if (text === '') return done(null, undefined);
    void parseJson(request, text, (error, value) =>
      error ? done(jsonInvalid(error), undefined) : done(null, value),
    );
  });
  app.addContentTypeParser<Buffer>(
    ['text/plain', ...JSON_LINES_TYPES],
    { parseAs: 'buffer' },
    async (request: FastifyRequest, body: Buffer) => textOf(request, body),
  );
  await app.register(multipart, {
    limits: {
      // One more than is taken, so that what is over the limit is seen by the reader instead of being cut off.
      fileSize: limits.maxBodyBytes + 1,
      files: MAX_FORM_FILES,
      fields: MAX_FORM_FIELDS,
      fieldSize: MAX_FORM_FIELD_BYTES,
      parts: MAX_FORM_FILES + MAX_FORM_FIELDS,
    },
  });
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
