/** `/adapters`: what was made. */
import { Type } from 'typebox';
import type { Caller } from '../../access/caller.ts';
import { ADAPTER_GGUF_FILE, STORED_GGUF_DTYPE } from '../../adapter/convert-gguf.ts';
import { storeErrors } from '../../store/errors.ts';
import { AdapterList, AdapterListQuery } from '../adapter-list-schemas.ts';
import { fileResponses } from '../file-responses.ts';
import { findAdapter } from '../find-adapter.ts';
import { wantsLinks } from '../job-payload.ts';
import { listAdapters } from '../list-adapters.ts';
import { presentAdapter, SERVED_FILES, type ServedFile } from '../present-adapter.ts';
import type { ProblemCode } from '../problem.ts';
import { ACCESS_FAILURES, problemResponses } from '../problem-responses.ts';
import { Adapter, AdapterQuery, GgufQuery, IdParams, refTo } from '../schemas.ts';
import { ARCHIVE_TYPE, sendAdapterArchive, sendAdapterFile } from '../send-adapter.ts';
import { sendGguf } from '../send-gguf.ts';
import type { App, HttpServices } from '../services.ts';

const FAILURES: readonly ProblemCode[] = [
  ...ACCESS_FAILURES,
  'id-invalid',
  'adapter-not-found',
  'store-unavailable',
];
const GGUF_TYPE = SERVED_FILES[ADAPTER_GGUF_FILE];
const binary = Type.String({ format: 'binary' });

/** Files that are sent as they are kept. */
type KeptFile = Exclude<ServedFile, typeof ADAPTER_GGUF_FILE>;
const FILE_SCHEMA: Readonly<Record<KeptFile, { readonly operationId: string; readonly summary: string }>> = {
  'adapter_model.safetensors': { operationId: 'getAdapterWeights', summary: 'The weights' },
  'adapter_config.json': { operationId: 'getAdapterConfig', summary: 'The PEFT configuration' },
};

/** Registers the routes. */
export function registerAdapters(
  app: App,
  { store, models, links, deployments, now = Date.now }: HttpServices,
): void {
  const find = (id: string, { tenant }: Caller) => findAdapter(store.of(tenant), id, now);

  app.get(
    '/adapters',
    {
      config: { produces: ['application/json'], access: 'read' },
      schema: {
        tags: ['adapters'],
        operationId: 'listAdapters',
        summary: 'List adapters, the last stored first',
        querystring: AdapterListQuery,
        response: {
          200: refTo(AdapterList),
          ...problemResponses(...ACCESS_FAILURES, 'field-unknown', 'cursor-invalid', 'store-unavailable'),
        },
      },
    },
    ({ query, caller: { tenant } }) => listAdapters({ tenant, store: store.of(tenant), now }, query),
  );

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
      // The reconciler finds those for which this fails.
      await deployments
        .takeBackAdapter({ tenant: caller.tenant, id: params.id })
        .catch((error) => log.warn({ err: error, adapter: params.id }, 'unloaded a little later'));
      log.info({ adapter: params.id }, 'adapter deleted');
      return reply.code(204).send(null);
    },
  );

  for (const method of ['GET', 'HEAD'] as const) {
    const suffix = method === 'HEAD' ? 'Head' : '';
    for (const [name, { operationId, summary }] of Object.entries(FILE_SCHEMA) as [
      KeptFile,
      (typeof FILE_SCHEMA)[KeptFile],
    ][]) {
      const type = SERVED_FILES[name];
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
            ...fileResponses(type),
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
      url: `/adapters/:id/${ADAPTER_GGUF_FILE}`,
      exposeHeadRoute: false,
      config: { produces: [GGUF_TYPE], access: 'read', swagger: { exposeHeadRoute: true } },
      schema: {
        tags: ['adapters'],
        operationId: `getAdapterGguf${suffix}`,
        summary:
          method === 'HEAD' ? 'The adapter as GGUF: headers alone' : 'The adapter as GGUF, for llama.cpp',
        description:
          'The file that is kept of an adapter that was asked for with `format: gguf`; else one that is made while it is sent, the same bytes every time, with its exact length. Validators and ranges are those of the other files, but the ETag of a file that is made is not its SHA-256. A number beyond the range of f16, which adapters do not have in practice, ends the answer early: ask for f32 then.',
        params: IdParams,
        querystring: GgufQuery,
        response: {
          ...fileResponses(GGUF_TYPE),
          ...problemResponses(
            ...FAILURES,
            'field-unknown',
            'gguf-unsupported',
            'gguf-heads-unknown',
            'adapter-mismatch',
            'safetensors-invalid',
            'precondition-failed',
            'range-not-satisfiable',
          ),
        },
      },
      handler: async (request, reply) => {
        const { params, query, caller } = request;
        const adapter = await find(params.id, caller);
        const services = { store: store.of(caller.tenant), models };
        return sendGguf(services, adapter, query.dtype ?? STORED_GGUF_DTYPE, { request, reply });
      },
    });
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
