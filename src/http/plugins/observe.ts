/** A log line and a measurement for every request. Neither ever has prompt text. */
import { isIP } from 'node:net';
import type { FastifyRequest } from 'fastify';
import { PROBE_ROUTES } from '../routes/probes.ts';
import type { App, ProbeServices } from '../services.ts';

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
      const ms = Math.round(reply.elapsedTime);
      const line = { method, route, status, ms, client: clientAddress(request) };
      // Not at `info`, which they would fill.
      if (PROBE_ROUTES.has(route)) request.log.debug(line, 'request');
      else request.log.info(line, 'request');
    });
  });
}

/** The client's address: as a trusted proxy forwards it where that is an address, else the connection's own. */
function clientAddress({ ip, raw }: FastifyRequest): string | undefined {
  return isIP(ip) === 0 ? raw.socket.remoteAddress : ip;
}
