/** `/adapters`: what was made. */
import { Type } from 'typebox';
import type { Caller } from '../../access/caller.ts';
import { storeErrors } from '../../store/errors.ts';
import { findAdapter } from '../find-adapter.ts';
import { wantsLinks } from '../job-payload.ts';
import { presentAdapter, SERVED_FILES, type ServedFile } from '../present-adapter.ts';
import type { ProblemCode } from '../problem.ts';
import { ACCESS_FAILURES, problemResponses } from '../problem-responses.ts';
import { Adapter, AdapterQuery, IdParams, refTo } from '../schemas.ts';
import { ARCHIVE_TYPE, sendAdapterArchive, sendAdapterFile } from '../send-adapter.ts';
import type { App, HttpServices } from '../services.ts';

const FAILURES: readonly ProblemCode[] = [
  ...ACCESS_FAILURES,
  'id-invalid',
  'adapter-not-found',
  'store-unavailable',
];
const binary = Type.String({ format: 'binary' });

const FILE_SCHEMA: Readonly<Record<ServedFile, { readonly operationId: string; readonly summary: string }>> =
  {
    'adapter_model.safetensors': { operationId: 'getAdapterWeights', summary: 'The weights' },
    'adapter_config.json': { operationId: 'getAdapterConfig', summary: 'The PEFT configuration' },
  };

/** Registers the routes. */
export function registerAdapters(app: App, { store, links, now = Date.now }: HttpServices): void {
  const find = (id: string, { tenant }: Caller) => findAdapter(store.of(tenant), id, now);

  app.get(
    '/adapters/:id',
    {
      config: { produces: ['application/json'], access: 'read' },
      schema: {
        tags: ['adapters'],
        operationId: 'getAdapter',
        summary: 'What an adapter is and where its files are',
        params: IdParams,
        querystring: AdapterQuery,
        response: {
          200: refTo(Adapter),
          ...problemResponses(...FAILURES, 'field-unknown', 'links-unavailable'),
        },
      },
    },
    async ({ params: { id }, query, caller }) => {
      const { tenant } = caller;
      const adapter = await find(id, caller);
      const linked = wantsLinks(query.presign, links) ? await links.of({ tenant, id }) : undefined;
      return presentAdapter(adapter, store.of(tenant).location(id), linked);
    },
  );

  app.delete(
    '/adapters/:id',
    {
      config: { produces: ['application/json'], access: 'generate' },
      schema: {
        tags: ['adapters'],
        operationId: 'deleteAdapter',
        summary: 'Delete an adapter',
        params: IdParams,
        response: {
          204: Type.Null({ description: 'It is gone. Downloads under way end well.' }),
          ...problemResponses(...FAILURES, 'cross-site-refused'),
        },
      },
    },
    async ({ params, log, caller }, reply) => {
      if (!(await store.of(caller.tenant).remove(params.id)))
        throw storeErrors.notFound('No adapter has this id.');
      log.info({ adapter: params.id }, 'adapter deleted');
      return reply.code(204).send(null);
    },
  );

  for (const method of ['GET', 'HEAD'] as const) {
    const suffix = method === 'HEAD' ? 'Head' : '';
    for (const [name, type] of Object.entries(SERVED_FILES) as [ServedFile, string][]) {
      const { operationId, summary } = FILE_SCHEMA[name];
      app.route({
        method,
        url: `/adapters/:id/${name}`,
        exposeHeadRoute: false,
        config: { produces: [type], access: 'read', swagger: { exposeHeadRoute: true } },
        schema: {
          tags: ['adapters'],
          operationId: `${operationId}${suffix}`,
          summary: method === 'HEAD' ? `${summary}: headers alone` : summary,
          description:
            'The ETag is the file’s SHA-256. `If-Match`, `If-Unmodified-Since`, `If-None-Match`, a single `Range` of bytes and `If-Range` are honoured.',
          params: IdParams,
          response: {
            200: { description: 'The whole file.', content: { [type]: { schema: binary } } },
            206: { description: 'The range.', content: { [type]: { schema: binary } } },
            304: Type.Null({ description: 'The client has it.' }),
            ...problemResponses(...FAILURES, 'precondition-failed', 'range-not-satisfiable'),
          },
        },
        handler: async (request, reply) => {
          const { params, caller } = request;
          const adapter = await find(params.id, caller);
          return sendAdapterFile(store.of(caller.tenant), adapter, name, { request, reply });
        },
      });
    }
    app.route({
      method,
      url: '/adapters/:id.tar',
      exposeHeadRoute: false,
      config: { produces: [ARCHIVE_TYPE], access: 'read', swagger: { exposeHeadRoute: true } },
      schema: {
        tags: ['adapters'],
        operationId: `getAdapterArchive${suffix}`,
        summary: method === 'HEAD' ? 'The archive: headers alone' : 'All files as one tar, in one folder',
        params: IdParams,
        response: {
          200: { description: 'The archive.', content: { [ARCHIVE_TYPE]: { schema: binary } } },
          ...problemResponses(...FAILURES),
        },
      },
      handler: async (request, reply) => {
        const { params, caller } = request;
        const adapter = await find(params.id, caller);
        return sendAdapterArchive(store.of(caller.tenant), adapter, { request, reply });
      },
    });
  }
}
