/** Multipart forms: files of prompts and options as fields. */
import type { TSchema } from 'typebox';
import { decodeUtf8 } from '../prompts/decode-text.ts';
import { PROMPT_FILES, type PromptFormat, promptFormatOf } from '../prompts/prompt-format.ts';
import { httpErrors } from './errors.ts';
import { type FormPart, parseForm } from './parse-form.ts';
import { checkCharset } from './plugins/bodies.ts';
import { valuesFromText } from './plugins/validation.ts';
import { PROMPT_TYPES } from './prompt-types.ts';

/** Parts of a form: prompts come in a few files, options are a dozen fields. */
const MAX_PARTS = 48;
/** Bytes of an option's value: the longest is a template of 4096 characters. */
const MAX_FIELD_BYTES = 4 * 4096;

/** A file of prompts, not yet read. */
export type FormFile = { readonly bytes: Uint8Array; readonly format: PromptFormat };

/** What a form holds. */
export type Form = {
  readonly fields: Readonly<Record<string, unknown>>;
  readonly files: readonly FormFile[];
};

/**
 * The fields of a form, numbers and booleans converted where `schema` wants them, and the files of its field `file` in their
 * order. Errors: `form-invalid`, `media-type-unsupported`, `text-not-utf8`.
 */
export function readForm(body: Buffer, contentType: string, schema: TSchema): Form {
  const fields: Record<string, unknown> = {};
  const files: FormFile[] = [];
  for (const part of parseForm(body, contentType, MAX_PARTS)) {
    if (part.fileName !== undefined) files.push(readFile(part));
    else if (part.bytes.length > MAX_FIELD_BYTES || Object.hasOwn(fields, part.name)) {
      throw httpErrors.formInvalid('A field is too long or sent twice.');
    } else fields[part.name] = readField(part);
  }
  return { fields: valuesFromText(schema, fields), files };
}

/** Text as it is, or the value where the part says that it is JSON. */
function readField({ contentType, bytes }: FormPart): unknown {
  checkCharset(contentType, bytes);
  const text = decodeUtf8(bytes);
  if (!/^application\/json\s*(;|$)/i.test(contentType)) return text;
  try {
    return JSON.parse(text);
  } catch {
    throw httpErrors.formInvalid('A field says that it is JSON and is not.');
  }
}

function readFile({ name, fileName, contentType, bytes }: FormPart): FormFile {
  if (name !== 'file') throw httpErrors.formInvalid('Files are taken in the field `file` alone.');
  const type = contentType.split(';')[0]!.trim().toLowerCase();
  const format =
    promptFormatOf(fileName!) ??
    (type === 'application/json'
      ? 'json'
      : Object.hasOwn(PROMPT_TYPES, type)
        ? PROMPT_TYPES[type]
        : undefined);
  if (!format) {
    throw httpErrors.mediaType(`A file is none of ${PROMPT_FILES}, by its name or media type.`);
  }
  checkCharset(contentType, bytes);
  return { bytes, format };
}
