/** What the API says of names, as schemas. */
import { type Static, type TSchema, Type } from 'typebox';
import { ID_PATTERN, NAME_PATTERN } from '../base/ids.ts';
import { MAX_HISTORY } from '../store/names.ts';
import { refTo } from './schemas.ts';

const closed = { additionalProperties: false } as const;
const Name = Type.String({
  pattern: NAME_PATTERN,
  description:
    '1–64 of `A–Z a–z 0–9 _ -`, not all digits, without `--`, neither beginning nor ending with `-`.',
});
const Id = Type.String({ pattern: ID_PATTERN });
const Time = Type.String({ format: 'date-time' });
const Url = Type.String({ format: 'uri-reference', description: 'Relative to the service.' });

/** The path parameter of names. */
export const NameParams = Type.Object({ name: Name });

/** The body that sets a name. */
export const NameRequest = Type.Object(
  { adapter: Type.String({ pattern: ID_PATTERN, description: 'Id of an adapter that is there.' }) },
  { ...closed, examples: [{ adapter: 'science-2' }] },
);

/** Most names on a page. */
const MAX_PAGE = 100;
/** Names on a page where the client names no limit. */
export const DEFAULT_PAGE = 20;

/** Page of the listing of names. */
export const NameListQuery = Type.Object(
  {
    after: Type.Optional(
      Type.String({ pattern: NAME_PATTERN, description: '`nextAfter` of the page before: its last name.' }),
    ),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_PAGE, default: DEFAULT_PAGE })),
  },
  closed,
);

const Commit = Type.String({
  pattern: '^[0-9a-f]{40}$',
  description: 'Stands for the adapter in the Hub view, for as long as it exists.',
});

/** A name as clients see it. */
export const NameView = Type.Object(
  {
    name: Name,
    adapter: Type.String({ pattern: ID_PATTERN, description: 'What it stands for.' }),
    commit: Commit,
    setAt: Time,
    repository: Type.String({ description: 'What Hub clients call it: `tenant/name`.' }),
    available: Type.Optional(
      Type.Boolean({
        description:
          'False when the adapter was deleted or has expired: the name stays until it is set anew or deleted. Left out in listings.',
      }),
    ),
    history: Type.Optional(
      Type.Array(Type.Object({ adapter: Id, commit: Commit, setAt: Time }), {
        description: `All that it stood for, the newest first, at most ${MAX_HISTORY}. Left out in listings.`,
      }),
    ),
    urls: Type.Object({ self: Url, adapter: Url, repository: Url }),
  },
  { $id: 'Name', description: 'A mutable alias of immutable adapters.' },
);
/** See {@link NameView}. */
export type NameView = Static<typeof NameView>;

/** A page of names. */
export const NameList = Type.Object(
  {
    names: Type.Array(refTo(NameView)),
    nextAfter: Type.Optional(Type.String({ description: 'Absent on the last page.' })),
  },
  { $id: 'NameList', description: 'Names in alphabetical order.' },
);

/** Schemas of this file that become components of the OpenAPI document. */
export const NAME_COMPONENTS: readonly TSchema[] = [NameView, NameList];
