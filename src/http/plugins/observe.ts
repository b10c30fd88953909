/** A log line and a measurement for every request. Neither ever has prompt text, ids only as the path's own. */
import type { App, ProbeServices } from '../services.ts';

/** Addresses that are asked every few seconds, kept out of the log unless it is verbose. */
const QUIET = new Set(['/livez', '/readyz', '/metrics']);

/** Logs and measures every request when its answer is out (or its client gone). */
export function installObservation(app: App, { metrics }: Pick<ProbeServices, 'metrics'>): void {
  app.addHook('onResponse', async (request, reply) => {
    const route = request.routeOptions.url ?? 'unmatched';
    const seconds = reply.elapsedTime / 1000;
    const { method } = request;
    const status = reply.statusCode;
    metrics.observeRequest({ method, route, status, seconds });
    const line = { method, route, status, ms: Math.round(reply.elapsedTime) };
    if (QUIET.has(route)) request.log.debug(line, 'request');
    else request.log.info(line, 'request');
  });
}
