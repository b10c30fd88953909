/** OpenAI's files as schemas. Field names are OpenAI's. */
import { type Static, type TSchema, Type } from 'typebox';
import { ID_PATTERN } from '../base/ids.ts';
import { refTo } from './schemas.ts';

const closed = { additionalProperties: false } as const;

/** What files may be uploaded for. */
export const UPLOAD_PURPOSE = 'fine-tune';
/** What files are for that jobs have made. */
export const RESULT_PURPOSE = 'fine-tune-results';

const hour = 3600;
const day = 24 * hour;
/** Bounds of `expires_after`, which are OpenAI's. */
const EXPIRY_SECONDS = { minimum: hour, maximum: 30 * day };
/** How long a file is kept that was uploaded without `expires_after`. */
export const DEFAULT_EXPIRY_SECONDS = 30 * day;
/** Longest name of a file, which ends up in listings. */
export const MAX_FILENAME_CHARS = 255;

/** The fields of an upload beside its file, once they are numbers and objects. */
export const UploadFields = Type.Object(
  {
    purpose: Type.String({ minLength: 1, maxLength: 64, description: `\`${UPLOAD_PURPOSE}\`.` }),
    expires_after: Type.Optional(
      Type.Object(
        { anchor: Type.Literal('created_at'), seconds: Type.Integer(EXPIRY_SECONDS) },
        {
          ...closed,
          description: `As \`expires_after[anchor]\` and \`expires_after[seconds]\`, or as JSON. Default: ${DEFAULT_EXPIRY_SECONDS} seconds.`,
        },
      ),
    ),
  },
  closed,
);

/** The form of an upload, for the document. */
export const UploadForm = Type.Object(
  {
    file: Type.String({ format: 'binary', description: 'JSON lines as OpenAI’s guides have them.' }),
    ...UploadFields.properties,
  },
  closed,
);

/** The path parameter of files. */
export const FileParams = Type.Object({ id: Type.String({ pattern: ID_PATTERN }) });

/** Most items of a page, and where the client names no limit: as many files as a tenant may have. */
export const FileListQuery = Type.Object(
  {
    after: Type.Optional(
      Type.String({ pattern: ID_PATTERN, description: 'Id of the last file of the page before.' }),
    ),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 10_000, default: 1000 })),
    order: Type.Optional(
      Type.Enum(['asc', 'desc'], { default: 'desc', description: 'By the time of creation.' }),
    ),
    purpose: Type.Optional(Type.String({ maxLength: 64 })),
  },
  closed,
);

/** A file. */
export const FileObject = Type.Object(
  {
    id: Type.String(),
    object: Type.Literal('file'),
    bytes: Type.Integer(),
    created_at: Type.Integer({ description: 'Seconds since the epoch.' }),
    expires_at: Type.Integer({ description: 'Seconds since the epoch.' }),
    filename: Type.String(),
    purpose: Type.Enum([UPLOAD_PURPOSE, RESULT_PURPOSE]),
    status: Type.Literal('processed'),
  },
  { $id: 'FileObject', description: 'A file that was uploaded, or that a fine-tuning job has made.' },
);
/** See {@link FileObject}. */
export type FileObject = Static<typeof FileObject>;

/** A page of files. */
export const FileList = Type.Object(
  { object: Type.Literal('list'), data: Type.Array(refTo(FileObject)), has_more: Type.Boolean() },
  { $id: 'FileList', description: 'Files, the newest first unless asked otherwise.' },
);

/** A file that is gone. */
export const FileDeleted = Type.Object(
  { id: Type.String(), object: Type.Literal('file'), deleted: Type.Literal(true) },
  { $id: 'FileDeleted', description: 'The file is gone.' },
);

/** Schemas of this file that become components of the OpenAPI document. */
export const FILE_COMPONENTS: readonly TSchema[] = [FileObject, FileList, FileDeleted];
