/** `/links`: files for whoever has a link that was made here. */
import { fileResponses } from '../file-responses.ts';
import { findAdapter } from '../find-adapter.ts';
import { countRequest } from '../plugins/access.ts';
import { SERVED_FILES, type ServedFile } from '../present-adapter.ts';
import { problemResponses } from '../problem-responses.ts';
import { LinkParams, LinkQuery } from '../schemas.ts';
import { sendAdapterFile } from '../send-adapter.ts';
import type { App, HttpServices } from '../services.ts';

/** The files that links are made for. */
type LinkedFile = Exclude<ServedFile, 'adapter.gguf'>;
const OPERATIONS: Readonly<Record<LinkedFile, { readonly operationId: string; readonly summary: string }>> = {
  'adapter_model.safetensors': { operationId: 'getLinkedWeights', summary: 'The weights, by a link' },
  'adapter_config.json': { operationId: 'getLinkedConfig', summary: 'The PEFT configuration, by a link' },
};

/** Registers the routes. They need no key: the signature stands for it. */
export function registerLinks(
  app: App,
  { store, links, rates, now = Date.now }: Pick<HttpServices, 'store' | 'links' | 'rates' | 'now'>,
): void {
  for (const method of ['GET', 'HEAD'] as const) {
    for (const file of Object.keys(OPERATIONS) as LinkedFile[]) {
      const { operationId, summary } = OPERATIONS[file];
      const type = SERVED_FILES[file];
      app.route({
        method,
        url: `/links/:tenant/:id/${file}`,
        exposeHeadRoute: false,
        config: { produces: [type], access: 'public', swagger: { exposeHeadRoute: true } },
        schema: {
          tags: ['adapters'],
          operationId: `${operationId}${method === 'HEAD' ? 'Head' : ''}`,
          summary: method === 'HEAD' ? `${summary}: headers alone` : summary,
          description:
            'Take the whole address from `links` of a job or an adapter; it opens this file alone and ends at its time. Answers like the file’s own address, `Range` and conditions included. Requests by links count for the tenant, against the bound of a key that has none of its own.',
          params: LinkParams,
          querystring: LinkQuery,
          response: {
            ...fileResponses(type),
            ...problemResponses(
              'link-invalid',
              'link-expired',
              'rate-limit-exceeded',
              'id-invalid',
              'field-unknown',
              'adapter-not-found',
              'store-unavailable',
              'precondition-failed',
              'range-not-satisfiable',
            ),
          },
        },
        handler: async (request, reply) => {
          const { tenant, id } = request.params;
          const { expires = '', signature = '' } = request.query;
          links.check({ tenant, id, file, expiresAt: Number(expires) }, signature);
          // Not before: who guesses must not use up what the tenant may.
          await countRequest(rates, `${tenant}/links`, links.limits, reply);
          const mine = store.of(tenant);
          const adapter = await findAdapter(mine, id, now);
          return sendAdapterFile(mine, adapter, file, { request, reply });
        },
      });
    }
  }
}
