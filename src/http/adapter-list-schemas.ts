/** The list of adapters, as schemas. */
import { type Static, type TSchema, Type } from 'typebox';
import { ID_PATTERN } from '../base/ids.ts';
import { AdapterInfo } from '../jobs/adapter-info.ts';
import { refTo } from './schemas.ts';

const Id = Type.String({ pattern: ID_PATTERN });
const Time = Type.String({ format: 'date-time' });
const Url = Type.String({ format: 'uri-reference', description: 'Relative to the service.' });

/** Most adapters on a page: each costs a read of the store. */
const MAX_PAGE = 100;
/** Adapters on a page where the client names no limit. */
export const DEFAULT_PAGE = 20;
const MAX_CURSOR_CHARS = 120;

/** Which adapters are listed. */
export const AdapterListQuery = Type.Object(
  {
    model: Type.Optional(
      Type.String({ minLength: 1, maxLength: 64, description: 'Those that this model made.' }),
    ),
    baseModel: Type.Optional(
      Type.String({ minLength: 1, maxLength: 200, description: 'Those for this base.' }),
    ),
    cursor: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: MAX_CURSOR_CHARS,
        description: '`nextCursor` of the page before.',
      }),
    ),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_PAGE, default: DEFAULT_PAGE })),
  },
  { additionalProperties: false },
);
/** See {@link AdapterListQuery}. */
export type AdapterListQuery = Static<typeof AdapterListQuery>;

const { jobId, model, trained, dtype, name, baseModel, rank, alpha } = AdapterInfo.properties;

/** An adapter in a list. */
export const AdapterSummary = Type.Object(
  {
    id: Id,
    ...{ jobId, model, trained, dtype, name, baseModel, rank, alpha },
    bytes: Type.Integer({ description: 'All files of it that are kept.' }),
    createdAt: Time,
    expiresAt: Time,
    urls: Type.Object({ self: Url, job: Url }),
  },
  { $id: 'AdapterSummary', description: 'An adapter in short; `urls.self` has the whole.' },
);
/** See {@link AdapterSummary}. */
export type AdapterSummary = Static<typeof AdapterSummary>;

/** A page of adapters. */
export const AdapterList = Type.Object(
  {
    adapters: Type.Array(refTo(AdapterSummary)),
    nextCursor: Type.Optional(
      Type.String({
        description:
          'Absent on the last page. A page may have fewer adapters than asked for, or none, and still not be the last one, where a filter matches few.',
      }),
    ),
  },
  { $id: 'AdapterList', description: 'Adapters, the last stored first.' },
);

/** Schemas of this file that become components of the OpenAPI document. */
export const ADAPTER_LIST_COMPONENTS: readonly TSchema[] = [AdapterSummary, AdapterList];
