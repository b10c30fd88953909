/** What clients of a Hub ask and are told, as schemas. */
import { type Static, type TSchema, Type } from 'typebox';
import { SHA256_PATTERN } from '../base/digest.ts';

const GitId = Type.String({ pattern: '^[0-9a-f]{40}$' });
const Sha256 = Type.String({ pattern: SHA256_PATTERN });
const Time = Type.String({ format: 'date-time' });

/** Any text: what cannot be a repository is none, and that is what clients understand. */
const segment = (description: string) => Type.String({ minLength: 1, maxLength: 100, description });
const repository = {
  owner: segment('The tenant of the key; `default` while there are no keys.'),
  name: segment('A name, or an adapter’s id; of `id--3` it is `id.3`.'),
};
const revision = segment('`main`, or a commit.');

/** Path parameters of a repository. */
export const RepositoryParams = Type.Object(repository);
/** Path parameters of a revision. */
export const RevisionParams = Type.Object({ ...repository, revision });
/** Path parameters of a file. */
export const EntryParams = Type.Object({ ...repository, revision, file: segment('Name of the file.') });

/** Parameters of a model's information. Clients send further ones, which change nothing. */
export const ModelInfoQuery = Type.Object({
  blobs: Type.Optional(Type.Boolean({ description: 'Adds size and digests to `siblings`.' })),
});
/** Parameters of a listing. Clients send further ones, which change nothing. */
export const TreeQuery = Type.Object({
  expand: Type.Optional(Type.Boolean({ description: 'Adds `lastCommit`.' })),
  recursive: Type.Optional(Type.Boolean({ description: 'There are no folders.' })),
});

/** Most paths of one question: repositories have a handful. */
const MAX_PATHS = 100;
/** The body that asks for some files. */
export const PathsRequest = Type.Object({
  paths: Type.Array(Type.String({ maxLength: 1000 }), { maxItems: MAX_PATHS }),
  expand: Type.Optional(Type.Boolean({ description: 'Adds `lastCommit`.' })),
});

/** See {@link PathsRequest}. */
export type PathsRequest = Static<typeof PathsRequest>;

/** A file in a listing. */
export const TreeEntryView = Type.Object(
  {
    type: Type.Literal('file'),
    path: Type.String(),
    size: Type.Integer(),
    oid: Type.String({ pattern: '^[0-9a-f]{40}$', description: 'Of the Git blob.' }),
    lfs: Type.Optional(Type.Object({ oid: Sha256, size: Type.Integer(), pointerSize: Type.Integer() })),
    lastCommit: Type.Optional(Type.Object({ id: GitId, title: Type.String(), date: Time })),
  },
  { $id: 'RepositoryFile', description: 'A file of a repository.' },
);

/** A model's information. */
export const ModelInfoView = Type.Object(
  {
    _id: Type.String(),
    id: Type.String({ description: '`tenant/name`, as it was asked for.' }),
    modelId: Type.String(),
    author: Type.String(),
    sha: Type.String({ pattern: '^[0-9a-f]{40}$', description: 'The commit: one adapter for ever.' }),
    lastModified: Time,
    createdAt: Time,
    private: Type.Boolean(),
    gated: Type.Literal(false),
    disabled: Type.Literal(false),
    downloads: Type.Integer({ description: 'Not counted.' }),
    likes: Type.Integer({ description: 'Not counted.' }),
    library_name: Type.String(),
    pipeline_tag: Type.String(),
    tags: Type.Array(Type.String()),
    cardData: Type.Object({
      base_model: Type.String(),
      library_name: Type.String(),
      tags: Type.Array(Type.String()),
    }),
    siblings: Type.Array(
      Type.Object({
        rfilename: Type.String(),
        size: Type.Optional(Type.Integer()),
        blobId: Type.Optional(GitId),
        lfs: Type.Optional(
          Type.Object({ sha256: Sha256, size: Type.Integer(), pointerSize: Type.Integer() }),
        ),
      }),
    ),
    usedStorage: Type.Integer(),
  },
  { $id: 'RepositoryInfo', description: 'An adapter as a Hub describes a model.' },
);

/** Schemas of this file that become components of the OpenAPI document. */
export const HUB_COMPONENTS: readonly TSchema[] = [TreeEntryView, ModelInfoView];
