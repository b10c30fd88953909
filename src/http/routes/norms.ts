/** `GET /adapters/{id}/norms`: how much an adapter changes each module, and how far it is from another one. */
import { type AdapterNorms, adapterNorms } from '../../arithmetic/norms.ts';
import { openStoredPeft } from '../../jobs/stored-peft.ts';
import { connectionSignal } from '../await-job.ts';
import { findAdapter } from '../find-adapter.ts';
import { ACCESS_FAILURES, problemResponses } from '../problem-responses.ts';
import { IdParams, Norms, NormsQuery, refTo } from '../schemas.ts';
import type { App, HttpServices } from '../services.ts';

/** Results that are kept: each is some ten kilobytes, and takes as long as reading the adapter to make. */
const MAX_KEPT = 64;

/** Registers the route. `closing` ends the reading when the application closes. */
export function registerNorms(app: App, { store, now = Date.now }: HttpServices, closing: AbortSignal): void {
  const kept = new Map<string, AdapterNorms>();
  /** One at a time: a large adapter keeps the processor busy, and other requests wait for it. */
  let before: Promise<unknown> = Promise.resolve();

  app.get(
    '/adapters/:id/norms',
    {
      config: { produces: ['application/json'], access: 'read' },
      schema: {
        tags: ['adapters'],
        operationId: 'getAdapterNorms',
        summary: 'How much an adapter changes each module, and how far it is from another one',
        params: IdParams,
        querystring: NormsQuery,
        response: {
          200: refTo(Norms),
          ...problemResponses(
            ...ACCESS_FAILURES,
            'id-invalid',
            'field-unknown',
            'adapter-not-found',
            'transform-unfit',
            'adapter-mismatch',
            'adapter-not-finite',
            'safetensors-invalid',
            'store-unavailable',
          ),
        },
      },
    },
    async ({ params, query, caller }, reply) => {
      const own = store.of(caller.tenant);
      const adapter = await findAdapter(own, params.id, now);
      const other = query.other === undefined ? undefined : await findAdapter(own, query.other, now);
      const key = [adapter, other].map((each) => each?.contentKey ?? '').join(' ');
      let norms = kept.get(key);
      if (!norms) {
        const signal = connectionSignal(reply, closing);
        const read = async () =>
          adapterNorms(await openStoredPeft(own, adapter, { signal }), {
            other: other && (await openStoredPeft(own, other, { signal })),
            signal,
          });
        const making = before.then(read, read);
        before = making.catch(() => undefined);
        norms = await making;
        if (kept.size >= MAX_KEPT) kept.delete(kept.keys().next().value!);
        kept.set(key, norms);
      }
      const { modules, total } = norms;
      return {
        modules: { ...modules },
        total,
        ...(norms.other && { other: { adapter: query.other!, ...norms.other } }),
      };
    },
  );
}
