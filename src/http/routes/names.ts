/** `/names`: mutable aliases of immutable adapters. */
import type { IncomingHttpHeaders } from 'node:http';
import { Type } from 'typebox';
import { storeErrors } from '../../store/errors.ts';
import type { AdapterName, NameCheck } from '../../store/store.ts';
import { httpErrors } from '../errors.ts';
import { findAdapter } from '../find-adapter.ts';
import { adapterUrl, nameUrl, repositoryUrl } from '../links.ts';
import { DEFAULT_PAGE, NameList, NameListQuery, NameParams, NameRequest, NameView } from '../name-schemas.ts';
import type { ProblemCode } from '../problem.ts';
import { ACCESS_FAILURES, problemResponses, UNSAFE_FAILURES } from '../problem-responses.ts';
import { refuseName } from '../refuse-name.ts';
import { refTo } from '../schemas.ts';
import { listsTag } from '../send-adapter.ts';
import type { App, HttpServices } from '../services.ts';

const JSON_ONLY = ['application/json'] as const;
const FAILURES: readonly ProblemCode[] = [...ACCESS_FAILURES, 'id-invalid', 'store-unavailable'];
const TAG_HEADER = { etag: { type: 'string', description: 'Another one after every change.' } };

/** Registers the routes. */
export function registerNames(app: App, { store, now = Date.now }: HttpServices): void {
  app.get(
    '/names',
    {
      config: { produces: JSON_ONLY, access: 'read' },
      schema: {
        tags: ['names'],
        operationId: 'listNames',
        summary: 'List names in alphabetical order',
        querystring: NameListQuery,
        response: {
          200: refTo(NameList),
          ...problemResponses(...ACCESS_FAILURES, 'field-unknown', 'store-unavailable'),
        },
      },
    },
    async ({ query: { after, limit = DEFAULT_PAGE }, caller: { tenant } }) => {
      const page = await store.of(tenant).names.list({ limit, ...(after !== undefined && { after }) });
      return {
        names: page.map((name) => presentName(name, tenant)),
        ...(page.length === limit && { nextAfter: page.at(-1)!.name }),
      };
    },
  );

  app.get(
    '/names/:name',
    {
      config: { produces: JSON_ONLY, access: 'read' },
      schema: {
        tags: ['names'],
        operationId: 'getName',
        summary: 'What a name stands for, and stood for',
        description: '`If-None-Match` is honoured.',
        params: NameParams,
        response: {
          200: {
            description: 'The name.',
            content: { 'application/json': { schema: refTo(NameView) } },
            headers: TAG_HEADER,
          },
          304: Type.Null({ description: 'The client has it.' }),
          ...problemResponses(...FAILURES, 'name-not-found'),
        },
      },
    },
    async ({ params, headers, caller: { tenant } }, reply) => {
      const ours = store.of(tenant);
      const name = await ours.names.find(params.name);
      if (!name) throw noName();
      reply.headers({ etag: tagOf(name), 'cache-control': 'private, no-cache' });
      if (listsTag(headers['if-none-match'], tagOf(name))) return reply.code(304).send(null);
      const adapter = await ours.find(name.current.adapter);
      const available = adapter !== undefined && adapter.expiresAt > now();
      return { ...presentName(name, tenant), available, history: name.history.map(presentRevision) };
    },
  );

  app.put(
    '/names/:name',
    {
      config: { produces: JSON_ONLY, access: 'generate' },
      schema: {
        tags: ['names'],
        operationId: 'setName',
        summary: 'Make a name stand for an adapter',
        description:
          'With `If-Match` only while the name has this ETag, with `If-None-Match: *` only while there is no such name. A name does not keep its adapter: that ends with its retention.',
        params: NameParams,
        body: NameRequest,
        response: {
          200: {
            description: 'The name stands for the adapter.',
            content: { 'application/json': { schema: refTo(NameView) } },
            headers: TAG_HEADER,
          },
          201: {
            description: 'The name is new.',
            content: { 'application/json': { schema: refTo(NameView) } },
            headers: { ...TAG_HEADER, location: { type: 'string', description: 'The name.' } },
          },
          ...problemResponses(
            ...FAILURES,
            ...UNSAFE_FAILURES,
            'field-unknown',
            'adapter-not-found',
            'name-taken',
            'precondition-failed',
            'quota-names-exceeded',
            'store-full',
          ),
        },
      },
    },
    async ({ params, body, headers, log, caller: { tenant } }, reply) => {
      const ours = store.of(tenant);
      const adapter = await findAdapter(ours, body.adapter, now);
      await refuseName(params.name, ours, '/name');
      const { name, created } = await ours.names.set(params.name, adapter, { check: conditionOf(headers) });
      log.info({ tenant, name: name.name, adapter: adapter.id }, 'name set');
      reply.code(created ? 201 : 200).header('etag', tagOf(name));
      if (created) reply.header('location', nameUrl(name.name));
      return { ...presentName(name, tenant), available: true, history: name.history.map(presentRevision) };
    },
  );

  app.delete(
    '/names/:name',
    {
      config: { produces: JSON_ONLY, access: 'generate' },
      schema: {
        tags: ['names'],
        operationId: 'deleteName',
        summary: 'Delete a name, and none of its adapters',
        description: 'With `If-Match` only while the name has this ETag.',
        params: NameParams,
        response: {
          204: Type.Null({ description: 'It is gone, with its history.' }),
          ...problemResponses(
            ...FAILURES,
            'name-not-found',
            'precondition-failed',
            'store-full',
            'cross-site-refused',
          ),
        },
      },
    },
    async ({ params, headers, log, caller: { tenant } }, reply) => {
      const { names } = store.of(tenant);
      if (!(await names.find(params.name))) throw noName();
      if (!(await names.remove(params.name, { check: conditionOf(headers) }))) throw noName();
      log.info({ tenant, name: params.name }, 'name deleted');
      return reply.code(204).send(null);
    },
  );
}

const tagOf = ({ tag }: AdapterName) => `"${tag}"`;
const noName = () => storeErrors.nameNotFound('No name is this one.');

const presentRevision = ({ adapter, commit, setAt }: AdapterName['current']) => ({
  adapter,
  commit,
  setAt: new Date(setAt).toISOString(),
});

function presentName({ name, current }: AdapterName, tenant: string): NameView {
  return {
    name,
    ...presentRevision(current),
    repository: `${tenant}/${name}`,
    urls: {
      self: nameUrl(name),
      adapter: adapterUrl(current.adapter),
      repository: repositoryUrl(tenant, name),
    },
  };
}

/** What If-Match (strong comparison) and If-None-Match ask of a name that is about to be changed (RFC 9110 §13.1). */
function conditionOf(headers: IncomingHttpHeaders): NameCheck {
  const { 'if-match': match, 'if-none-match': noneMatch } = headers;
  return (current) => {
    const tag = current && tagOf(current);
    const matches =
      tag !== undefined && (match ?? '').split(',').some((each) => ['*', tag].includes(each.trim()));
    if (match !== undefined && !matches)
      throw httpErrors.precondition(tag ? 'The name has another ETag.' : 'There is no such name.');
    if (noneMatch !== undefined && tag !== undefined && listsTag(noneMatch, tag))
      throw httpErrors.precondition('The name exists.');
  };
}
