/** Adapters as repositories that clients of the Hugging Face Hub read: the addresses and fields are theirs. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import type { Caller } from '../../access/caller.ts';
import { isTenant } from '../../base/ids.ts';
import { describeFiles, describeModel } from '../../hub-view/describe.ts';
import { hubViewErrors } from '../../hub-view/errors.ts';
import { findRevision, type Revision } from '../../hub-view/find-revision.ts';
import { type RepositoryFile, rawFile, repositoryFiles } from '../../hub-view/repository-files.ts';
import { httpErrors } from '../errors.ts';
import { fileResponses } from '../file-responses.ts';
import { sendHubProblem } from '../hub-failures.ts';
import {
  EntryParams,
  ModelInfoQuery,
  ModelInfoView,
  PathsRequest,
  RepositoryParams,
  RevisionParams,
  TreeEntryView,
  TreeQuery,
} from '../hub-schemas.ts';
import type { ProblemCode } from '../problem.ts';
import { ACCESS_FAILURES, problemResponses, UNSAFE_FAILURES } from '../problem-responses.ts';
import { refTo } from '../schemas.ts';
import { sendFile } from '../send-adapter.ts';
import type { App, HttpServices } from '../services.ts';

const FAILURES: readonly ProblemCode[] = [
  ...ACCESS_FAILURES,
  'id-invalid',
  'repository-not-found',
  'revision-not-found',
  'store-unavailable',
];
/** Bytes of a body that asks for files: a hundred long paths. */
const MAX_BODY_BYTES = 128 << 10;
const FORM_TYPE = 'application/x-www-form-urlencoded';
const JSON_TYPE = 'application/json';
/** Media types of a repository's files. */
const FILE_TYPES = ['application/octet-stream', JSON_TYPE, 'text/markdown', 'text/plain'] as const;
const ERROR_HEADERS = 'Failures have `X-Error-Code` and `X-Error-Message`, which clients of a Hub read.';

type Address = { readonly owner: string; readonly name: string; readonly revision?: string };

/** Finds what an address stands for, tells the client its commit, and lists its files. */
type Open = (
  address: Address,
  caller: Caller,
  reply: FastifyReply,
) => Promise<{ readonly revision: Revision; readonly files: readonly RepositoryFile[] }>;

const ROUTE = {
  config: { produces: [JSON_TYPE] as [string], access: 'read' as const },
  errorHandler: sendHubProblem,
};

/** Registers the routes. */
export async function registerHub(app: App, { store, now = Date.now }: HttpServices): Promise<void> {
  const open: Open = async ({ owner, name, revision = 'main' }, caller, reply) => {
    // A model server that serves several tenants has one key.
    const tenant = caller.scopes.includes('serve') && isTenant(owner) ? owner : caller.tenant;
    const ours = store.of(tenant);
    const found = await findRevision(ours, { owner, name, revision, tenant, now });
    reply.header('x-repo-commit', found.commit);
    return { revision: found, files: repositoryFiles(ours, found.adapter) };
  };
  registerModelInfo(app, open);
  registerTree(app, open);
  await registerPathsInfo(app, open);
  registerFiles(app, open);
  registerElsewhere(app, open);
}

function registerModelInfo(app: App, open: Open): void {
  const answer = async (
    address: Address,
    { blobs = false }: { blobs?: boolean },
    caller: Caller,
    reply: FastifyReply,
  ) => {
    const { revision, files } = await open(address, caller, reply);
    return describeModel(revision, files, {
      isPrivate: caller.keyName !== undefined,
      ...(blobs && { entries: await describeFiles(files) }),
    });
  };
  const response = { 200: refTo(ModelInfoView), ...problemResponses(...FAILURES) };

  app.get(
    '/api/models/:owner/:name',
    {
      ...ROUTE,
      schema: {
        tags: ['hub'],
        operationId: 'getRepository',
        summary: 'A repository as its main branch stands',
        description: `\`model_info\` of Hub clients. ${ERROR_HEADERS}`,
        params: RepositoryParams,
        querystring: ModelInfoQuery,
        response,
      },
    },
    ({ params, query, caller }, reply) => answer(params, query, caller, reply),
  );

  app.get(
    '/api/models/:owner/:name/revision/:revision',
    {
      ...ROUTE,
      schema: {
        tags: ['hub'],
        operationId: 'getRepositoryRevision',
        summary: 'A repository at a revision',
        description: `\`snapshot_download\` begins here. ${ERROR_HEADERS}`,
        params: RevisionParams,
        querystring: ModelInfoQuery,
        response,
      },
    },
    ({ params, query, caller }, reply) => answer(params, query, caller, reply),
  );
}

function registerTree(app: App, open: Open): void {
  app.get(
    '/api/models/:owner/:name/tree/:revision',
    {
      ...ROUTE,
      schema: {
        tags: ['hub'],
        operationId: 'listRepositoryFiles',
        summary: 'The files of a revision',
        description: `\`list_repo_tree\`, \`listFiles\`. ${ERROR_HEADERS}`,
        params: RevisionParams,
        querystring: TreeQuery,
        response: {
          200: Type.Array(refTo(TreeEntryView), { description: 'The files.' }),
          ...problemResponses(...FAILURES),
        },
      },
    },
    async ({ params, query, caller }, reply) => {
      const { revision, files } = await open(params, caller, reply);
      return await describeFiles(files, query.expand ? revision : undefined);
    },
  );
}

/** `paths-info` alone takes a form, as Python's client sends it, so it has a context with a parser of its own. */
async function registerPathsInfo(app: App, open: Open): Promise<void> {
  const schema = {
    tags: ['hub'],
    operationId: 'getRepositoryPaths',
    summary: 'Some files of a revision',
    description: `\`get_paths_info\`, \`pathsInfo\`. Files that are not there are left out. ${ERROR_HEADERS}`,
    params: RevisionParams,
    body: { content: { [JSON_TYPE]: { schema: PathsRequest }, [FORM_TYPE]: { schema: PathsRequest } } },
    response: {
      200: Type.Array(refTo(TreeEntryView), { description: 'The files.' }),
      ...problemResponses(...FAILURES, ...UNSAFE_FAILURES),
    },
  };
  await app.register((scope: App, _options, next) => {
    scope.addContentTypeParser<string>(FORM_TYPE, { parseAs: 'string' }, (_request, body, done) => {
      const form = new URLSearchParams(body);
      const expand = form.get('expand')?.toLowerCase();
      const fields = expand === undefined ? {} : { expand: expand === 'true' };
      done(null, { paths: form.getAll('paths'), ...fields });
    });
    scope.post(
      '/api/models/:owner/:name/paths-info/:revision',
      { ...ROUTE, bodyLimit: MAX_BODY_BYTES, schema },
      async ({ params, body, caller }, reply) => {
        if (body === undefined) throw httpErrors.jsonInvalid('The body is empty.');
        const { paths, expand } = body as PathsRequest;
        const { revision, files } = await open(params, caller, reply);
        const wanted = files.filter(({ path }) => paths.includes(path));
        return await describeFiles(wanted, expand ? revision : undefined);
      },
    );
    next();
  });
}

/** The two ways in which a file is asked for. */
const FILE_ROUTES = [
  {
    way: 'resolve',
    operation: 'getRepositoryFile',
    summary: 'A file of a revision',
    about:
      '`hf_hub_download`, `downloadFile`. The ETag is the file’s SHA-256, `X-Repo-Commit` the commit; ranges and conditions are honoured, and nothing is compressed.',
    of: (file: RepositoryFile) => file,
  },
  {
    way: 'raw',
    operation: 'getRepositoryFileRaw',
    summary: 'A file as Git has it',
    about: '`fileExists`. Of the weights it is the pointer into Large File Storage.',
    of: rawFile,
  },
] as const;

function registerFiles(app: App, open: Open): void {
  const variants = FILE_ROUTES.flatMap((each) =>
    (['GET', 'HEAD'] as const).map((method) => ({ ...each, method })),
  );
  for (const { method, way, operation, summary, about, of } of variants) {
    app.route({
      method,
      url: `/:owner/:name/${way}/:revision/:file`,
      exposeHeadRoute: false,
      config: { access: 'read', swagger: { exposeHeadRoute: true } },
      errorHandler: sendHubProblem,
      schema: {
        tags: ['hub'],
        operationId: `${operation}${method === 'HEAD' ? 'Head' : ''}`,
        summary: method === 'HEAD' ? `${summary}: headers alone` : summary,
        description: `${about} ${ERROR_HEADERS}`,
        params: EntryParams,
        response: {
          ...fileResponses(...FILE_TYPES),
          ...problemResponses(
            ...FAILURES,
            'entry-not-found',
            'adapter-not-found',
            'precondition-failed',
            'range-not-satisfiable',
          ),
        },
      },
      handler: async (request, reply) => {
        const { revision, files } = await open(request.params, request.caller, reply);
        const file = files.find(({ path }) => path === request.params.file);
        if (!file) throw hubViewErrors.entryNotFound('The revision has no file of this name.');
        return await sendFile({ ...of(file), createdAt: revision.adapter.createdAt }, { request, reply });
      },
    });
  }
}

/** Addresses that clients try for what repositories may have elsewhere: they go on only if told so in their own words. */
function registerElsewhere(app: App, open: Open): void {
  const hidden = { ...ROUTE, config: { access: 'read' as const }, schema: { hide: true } };
  const noEntry = async ({ params, caller }: FastifyRequest, reply: FastifyReply) => {
    await open(params as Address, caller, reply);
    throw hubViewErrors.entryNotFound('The repository has no folders.');
  };
  const noRepository = async () => {
    throw hubViewErrors.repositoryNotFound('Repositories here have an owner: `tenant/name`.');
  };
  app.get('/api/models/:owner/:name/tree/:revision/*', hidden, noEntry);
  for (const { way } of FILE_ROUTES) app.get(`/:owner/:name/${way}/:revision/*`, hidden, noEntry);
  app.get('/api/models/:name', hidden, noRepository);
  app.get('/:name/resolve/:revision/:file', hidden, noRepository);
}
