/** Multipart forms: files of prompts and options as fields, read into one object. */
import type { MultipartFile } from '@fastify/multipart';
import type { FastifyRequest } from 'fastify';
import type { TSchema } from 'typebox';
import { LoradropError } from '../base/errors.ts';
import {
  decodeUtf8,
  type PromptFormat,
  parsePrompts,
  promptFormatOf,
  tooMany,
} from '../prompts/parse-prompts.ts';
import { httpErrors } from './errors.ts';
import { JSON_LINES_TYPES } from './plugins/bodies.ts';
import { valuesFromText } from './plugins/validation.ts';
import type { HttpLimits } from './services.ts';

const FORMAT_BY_TYPE: Readonly<Record<string, PromptFormat>> = {
  'text/plain': 'text',
  'application/json': 'json',
  ...Object.fromEntries(JSON_LINES_TYPES.map((type) => [type, 'jsonl' as const])),
};

/**
 * The fields of a form, numbers and booleans converted where `schema` wants them, and under `file` the prompts of all files in their
 * order. Files and bytes are bounded by the application's settings and `limits`. Errors: `form-invalid`, `body-too-large`,
 * `media-type-unsupported`, `text-not-utf8` and those of the prompts.
 */
export async function readForm(
  request: FastifyRequest,
  { schema, limits }: { schema: TSchema; limits: HttpLimits },
): Promise<Record<string, unknown>> {
  const fields: Record<string, unknown> = {};
  const prompts: string[] = [];
  let bytes = 0;
  if (Number(request.headers['content-length'] ?? 0) > limits.maxBodyBytes) throw tooLarge(limits);
  try {
    for await (const part of request.parts()) {
      if (part.type === 'field') {
        if (part.valueTruncated || Object.hasOwn(fields, part.fieldname)) {
          throw httpErrors.formInvalid('A field is too long or sent twice.');
        }
        fields[part.fieldname] = part.value;
        continue;
      }
      const format = formatOf(part);
      const chunks: Buffer[] = [];
      // Not toBuffer(), which would read an endless file to its end before it refused it.
      for await (const chunk of part.file) {
        bytes += chunk.length;
        if (bytes > limits.maxBodyBytes) throw tooLarge(limits);
        chunks.push(chunk);
      }
      for (const prompt of parsePrompts(decodeUtf8(Buffer.concat(chunks)), format, limits))
        prompts.push(prompt);
      if (prompts.length > limits.maxPrompts) throw tooMany(limits);
    }
  } catch (error) {
    if (error instanceof LoradropError) throw error;
    throw httpErrors.formInvalid('The form is cut off, malformed or has too many parts.', { cause: error });
  }
  return { ...valuesFromText(schema, fields), ...(prompts.length > 0 && { file: prompts }) };
}

function tooLarge({ maxBodyBytes }: HttpLimits) {
  return httpErrors.bodyTooLarge(`The files have more than ${maxBodyBytes} bytes.`);
}

function formatOf({ fieldname, filename, mimetype }: MultipartFile): PromptFormat {
  if (fieldname !== 'file') throw httpErrors.formInvalid('Files are taken in the field `file` alone.');
  const format = promptFormatOf(filename) ?? FORMAT_BY_TYPE[mimetype.toLowerCase()];
  if (!format) {
    throw httpErrors.mediaType(
      'A file is neither .txt, .jsonl, .ndjson nor .json, by its name or media type.',
    );
  }
  return format;
}
