/** `/jobs/{id}/deliveries`: what became of a job's webhook, and sending one anew. */
import type { Caller } from '../../access/caller.ts';
import { requestWebhook } from '../../jobs/deliveries.ts';
import { queueErrors } from '../../queue/errors.ts';
import { presentDelivery } from '../present-delivery.ts';
import { ACCESS_FAILURES, problemResponses, QUEUE_FAILURES } from '../problem-responses.ts';
import { DeliveryList, DeliveryParams, DeliveryView, IdParams, refTo } from '../schemas.ts';
import type { App, HttpServices } from '../services.ts';

const JSON_ONLY = ['application/json'] as const;

/** Registers the routes. The operator's own receivers are none of a tenant's business and are not shown. */
export function registerDeliveries(app: App, { queue, webhooks }: HttpServices): void {
  const { deliveries } = webhooks;
  const find = async (id: string, { tenant }: Caller) => {
    const record = await queue.of(tenant).find(id);
    if (!record) throw queueErrors.notFound('No job has this id.');
    return { record, webhook: requestWebhook(record.payload.webhooks) };
  };

  app.get(
    '/jobs/:id/deliveries',
    {
      config: { produces: JSON_ONLY, access: 'read' },
      schema: {
        tags: ['jobs'],
        operationId: 'listDeliveries',
        summary: 'Deliveries of a job’s webhook, in order',
        description:
          'An event has a delivery once its turn has come: the one before has been taken by the receiver, or was given up.',
        params: IdParams,
        response: {
          200: refTo(DeliveryList),
          ...problemResponses(...ACCESS_FAILURES, ...QUEUE_FAILURES, 'id-invalid', 'job-not-found'),
        },
      },
    },
    async ({ params, caller }) => {
      const { record, webhook } = await find(params.id, caller);
      const list = webhook < 0 ? [] : await deliveries.list(record, webhook);
      return { deliveries: list.map(presentDelivery) };
    },
  );

  app.post(
    '/jobs/:id/deliveries/:n/replay',
    {
      config: { produces: JSON_ONLY, access: 'generate' },
      schema: {
        tags: ['jobs'],
        operationId: 'replayDelivery',
        summary: 'Send an ended delivery once more',
        description:
          'The message is the same, with the same `webhook-id`; it is signed anew and retried like the first time.',
        params: DeliveryParams,
        response: {
          202: refTo(DeliveryView, { description: 'The delivery, pending again.' }),
          ...problemResponses(
            ...ACCESS_FAILURES,
            ...QUEUE_FAILURES,
            'id-invalid',
            'job-not-found',
            'delivery-not-found',
            'delivery-pending',
            'cross-site-refused',
            'media-type-unsupported',
            'json-invalid',
            'body-too-large',
            'text-not-utf8',
          ),
        },
      },
    },
    async ({ params, caller, log }, reply) => {
      const { record, webhook } = await find(params.id, caller);
      const delivery = await deliveries.replay(record, webhook, params.n);
      log.info({ job: params.id, delivery: params.n }, 'delivery replayed');
      return reply.code(202).send(presentDelivery(delivery));
    },
  );
}
