/** Multipart forms: files of prompts and options as fields. */
import type { TSchema } from 'typebox';
import { PROMPT_FILES, type PromptFormat, promptFormatOf } from '../prompts/prompt-format.ts';
import { httpErrors } from './errors.ts';
import { checkCharset, PROMPT_TYPES } from './plugins/bodies.ts';
import { valuesFromText } from './plugins/validation.ts';

/** Files of a form: prompts come in a few. */
const MAX_FILES = 32;
/** Fields of a form: options are a dozen. */
const MAX_FIELDS = 16;
/** Bytes of an option's value: the longest is a template. */
const MAX_FIELD_CHARS = 4096;

/** A file of prompts, not yet read. */
export type FormFile = { readonly bytes: Uint8Array; readonly format: PromptFormat };

/** What a form holds. */
export type Form = {
  readonly fields: Readonly<Record<string, unknown>>;
  readonly files: readonly FormFile[];
};

/**
 * The fields of a form, numbers and booleans converted where `schema` wants them, and the files of its field `file` in their
 * order. Errors: `form-invalid`, `media-type-unsupported`.
 */
export async function readForm(body: Buffer, contentType: string, schema: TSchema): Promise<Form> {
  const fields: Record<string, unknown> = {};
  const files: FormFile[] = [];
  for (const [name, value] of await parseForm(body, contentType)) {
    if (typeof value !== 'string') {
      files.push(await readFile(name, value));
    } else if (value.length > MAX_FIELD_CHARS || Object.hasOwn(fields, name)) {
      throw httpErrors.formInvalid('A field is too long or sent twice.');
    } else fields[name] = value;
  }
  return { fields: valuesFromText(schema, fields), files };
}

/** Node's own parser wants the whole form, which is bounded already, and keeps the media types of parts as they are. */
async function parseForm(body: Buffer, contentType: string): Promise<FormData> {
  const boundary = /;\s*boundary\s*=\s*(?:"([^"]+)"|([^\s;"]+))/i.exec(contentType);
  const invalid = (cause?: unknown) =>
    httpErrors.formInvalid('The form is cut off, malformed or has too many parts.', { cause });
  const marker = `--${boundary?.[1] ?? boundary?.[2]}`;
  // Counted before it makes objects of them: a form of nothing but parts could have hundreds of thousands.
  let parts = 0;
  for (let at = body.indexOf(marker); at !== -1; at = body.indexOf(marker, at + marker.length)) {
    if (++parts > MAX_FILES + MAX_FIELDS + 1) throw invalid();
  }
  try {
    return await new Response(new Uint8Array(body), { headers: { 'content-type': contentType } }).formData();
  } catch (cause) {
    throw invalid(cause);
  }
}

async function readFile(name: string, file: File): Promise<FormFile> {
  if (name !== 'file') throw httpErrors.formInvalid('Files are taken in the field `file` alone.');
  const type = file.type.split(';')[0]!.trim();
  const format =
    promptFormatOf(file.name) ??
    (type === 'application/json'
      ? 'json'
      : Object.hasOwn(PROMPT_TYPES, type)
        ? PROMPT_TYPES[type]
        : undefined);
  if (!format) {
    throw httpErrors.mediaType(`A file is none of ${PROMPT_FILES}, by its name or media type.`);
  }
  const bytes = await file.bytes();
  checkCharset(file.type, bytes);
  return { bytes, format };
}
