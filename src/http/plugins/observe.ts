/** A log line and a measurement for every request. Neither ever has prompt text. */
import type { App, ProbeServices } from '../services.ts';

/** Addresses that are asked every few seconds, kept out of the log unless it is verbose. */
const QUIET = new Set(['/livez', '/readyz', '/metrics']);
/** Status for requests whose client left before the answer was out, as nginx has it. */
const CLIENT_GONE = 499;

/** Logs and measures every request when its answer is out or its client gone. */
export function installObservation(app: App, { metrics }: Pick<ProbeServices, 'metrics'>): void {
  app.addHook('onRequest', async (request, reply) => {
    // Not onResponse, which is silent about clients that leave, and event streams mostly end that way.
    let answered = false;
    reply.raw.once('finish', () => {
      answered = true;
    });
    reply.raw.once('close', () => {
      const route = request.routeOptions.url ?? 'unmatched';
      const status = answered ? reply.statusCode : CLIENT_GONE;
      const { method } = request;
      metrics.observeRequest({ method, route, status, seconds: reply.elapsedTime / 1000 });
      const line = { method, route, status, ms: Math.round(reply.elapsedTime) };
      if (QUIET.has(route)) request.log.debug(line, 'request');
      else request.log.info(line, 'request');
    });
  });
}
