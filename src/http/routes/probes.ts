/** `/livez`, `/readyz` and `/metrics`. */
import { Type } from 'typebox';
import { httpErrors } from '../errors.ts';
import { PROBLEM_MEDIA_TYPE, problemOfError } from '../problem.ts';
import { ACCESS_FAILURES, probeResponses } from '../problem-responses.ts';
import { Liveness, ReadinessView, refTo, UnreadinessDocument } from '../schemas.ts';
import type { App, ProbeServices } from '../services.ts';

/** The addresses that monitoring asks every few seconds: kept out of the log and answered however busy the service is. */
export const PROBE_ROUTES: ReadonlySet<string> = new Set(['/livez', '/readyz', '/metrics']);

/** Registers the routes. */
export function registerProbes(app: App, services: ProbeServices): void {
  const { readiness, metrics, metricsAccess = 'public', draining } = services;
  app.get(
    '/livez',
    {
      config: { produces: ['application/json'], access: 'public' },
      schema: {
        tags: ['service'],
        operationId: 'getLiveness',
        summary: 'Whether the process answers at all',
        response: { 200: refTo(Liveness), ...probeResponses() },
      },
    },
    async () => ({ status: 'alive' as const }),
  );

  app.get(
    '/readyz',
    {
      config: { produces: ['application/json'], access: 'public' },
      schema: {
        tags: ['service'],
        operationId: 'getReadiness',
        summary: 'Whether requests should be sent here',
        description:
          'Ready when the queue and the store answer and the sessions are warm; not while the service stops.',
        response: {
          200: refTo(ReadinessView),
          ...probeResponses(),
          503: {
            description: '`not-ready`: `parts` tells what is missing.',
            content: { [PROBLEM_MEDIA_TYPE]: { schema: refTo(UnreadinessDocument) } },
          },
        },
      },
    },
    async (request, reply) => {
      const { ready, parts, device } = await readiness();
      const view = {
        ready: ready && !draining?.aborted,
        draining: draining?.aborted ?? false,
        parts,
        ...(device && { device }),
      };
      if (view.ready) return view;
      const missing = Object.entries(parts).flatMap(([name, part]) => (part.ready ? [] : [name]));
      const reason = view.draining ? 'The service is stopping.' : `Not ready: ${missing.join(', ')}.`;
      const { problem, retryAfterSeconds } = problemOfError(httpErrors.notReady(reason), request.id);
      return reply
        .code(503)
        .header('retry-after', String(retryAfterSeconds))
        .type(PROBLEM_MEDIA_TYPE)
        .send({ ...problem, instance: request.id, ...view });
    },
  );

  app.get(
    '/metrics',
    {
      config: { produces: ['text/plain'], access: metricsAccess },
      schema: {
        tags: ['service'],
        operationId: 'getMetrics',
        summary: 'Metrics in the Prometheus text format',
        response: {
          200: { description: 'The metrics.', content: { 'text/plain': { schema: Type.String() } } },
          ...probeResponses(...(metricsAccess === 'public' ? [] : ACCESS_FAILURES)),
        },
      },
    },
    async (_request, reply) => reply.type(metrics.contentType).send(await metrics.render()),
  );
}
