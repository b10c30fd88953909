/** `POST /v1/files`: an upload goes to the store while it comes. */
import type { FastifyRequest } from 'fastify';
import { Compile } from 'typebox/compile';
import { fineTuningErrors } from '../../finetuning/errors.ts';
import { newUploadId } from '../../finetuning/ids.ts';
import type { StoredAdapter, StoredFile } from '../../store/store.ts';
import { UPLOADED_FILE } from '../../store/uploads.ts';
import {
  DEFAULT_EXPIRY_SECONDS,
  FileObject,
  UPLOAD_PURPOSE,
  UploadFields,
  UploadForm,
} from '../file-schemas.ts';
import { openaiResponses } from '../openai-responses.ts';
import { refusalOf, valuesFromText } from '../plugins/validation.ts';
import { presentUpload } from '../present-upload.ts';
import { ACCESS_FAILURES, UNSAFE_FAILURES } from '../problem-responses.ts';
import { FORM_TYPE } from '../prompt-types.ts';
import { receiveUpload } from '../receive-upload.ts';
import { refTo } from '../schemas.ts';
import type { App, HttpServices } from '../services.ts';
import type { StoredUsage } from '../stored-usage.ts';

const JSON_ONLY = ['application/json'] as const;
const uploadFields = Compile(UploadFields);

/**
 * Registers the route. Its bodies are read as they come, so the application has to be one of its own inside the whole: elsewhere a
 * form is whole before it is looked at.
 */
export function registerUpload(
  app: App,
  { files, maxFileBytes, now = Date.now, random }: HttpServices,
  stored: StoredUsage,
): void {
  app.removeContentTypeParser(FORM_TYPE);
  app.addContentTypeParser(FORM_TYPE, (_request, payload, done) => done(null, payload));

  const publish = async (request: FastifyRequest): Promise<StoredAdapter> => {
    const { tenant } = request.caller;
    const createdAt = now();
    const draft = await files.of(tenant).draft(newUploadId(createdAt, random));
    try {
      const { fields, filename, file } = await receiveUpload<StoredFile>(request, {
        maxBytes: maxFileBytes,
        keep: (content) => draft.write(UPLOADED_FILE, content),
      });
      const { purpose, seconds } = readFields(fields);
      if (file.bytes === 0) throw fineTuningErrors.purpose('The file is empty.');
      return await draft.publish({
        createdAt,
        expiresAt: createdAt + seconds * 1000,
        contentKey: file.sha256,
        info: { filename, purpose },
      });
    } finally {
      await draft.discard();
    }
  };

  app.post(
    '/v1/files',
    {
      config: { produces: JSON_ONLY, access: 'generate' },
      bodyLimit: Number.MAX_SAFE_INTEGER,
      // The fields come with the file, and are checked once they are there.
      validatorCompiler: () => (value: unknown) => ({ value }),
      schema: {
        tags: ['fine-tuning'],
        operationId: 'createFile',
        summary: 'Upload a file of rows to fine-tune with',
        description: 'Its rows are checked when a job is created with it.',
        body: { content: { [FORM_TYPE]: { schema: UploadForm } } },
        response: {
          200: refTo(FileObject),
          ...openaiResponses(
            ...ACCESS_FAILURES,
            ...UNSAFE_FAILURES,
            'field-unknown',
            'form-invalid',
            'file-purpose-unsupported',
            'file-too-large',
            'quota-files-exceeded',
            'quota-stored-bytes-exceeded',
            'store-full',
            'store-unavailable',
          ),
        },
      },
    },
    async (request) => {
      await stored.refuseFileWhenFull(request.caller);
      const file = await publish(request);
      const { bytes } = file.files[0]!;
      request.log.info({ tenant: file.tenant, file: file.id, bytes }, 'file uploaded');
      return presentUpload(file);
    },
  );
}

/** The purpose and how long the file is kept. Errors: `request-invalid`, `field-unknown`, `file-purpose-unsupported`. */
function readFields(fields: Readonly<Record<string, string>>): { purpose: string; seconds: number } {
  const whole: [string, unknown][] = [];
  const expiry: Record<string, string> = {};
  for (const [name, value] of Object.entries(fields)) {
    const part = /^expires_after\[(\w+)\]$/.exec(name)?.[1];
    if (part !== undefined) expiry[part] = value;
    // Clients of the document send an object of a form as JSON.
    else whole.push([name, name === 'expires_after' ? fromJson(value) : value]);
  }
  const value: Record<string, unknown> = {
    ...Object.fromEntries(whole),
    ...(Object.keys(expiry).length > 0 && {
      expires_after: valuesFromText(UploadFields.properties.expires_after, expiry),
    }),
  };
  if (!uploadFields.Check(value))
    throw refusalOf(uploadFields.Errors(value) as Parameters<typeof refusalOf>[0], 'body');
  if (value.purpose !== UPLOAD_PURPOSE) {
    throw fineTuningErrors.purpose('Other purposes have no use here.', {
      fields: [{ pointer: '/purpose', message: `takes \`${UPLOAD_PURPOSE}\` alone` }],
    });
  }
  return { purpose: value.purpose, seconds: value.expires_after?.seconds ?? DEFAULT_EXPIRY_SECONDS };
}

/** The value that a text is in JSON, or the text itself where it is none. */
function fromJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
