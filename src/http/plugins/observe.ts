/** A log line, a measurement and, where traces are kept, a span for every request. None of them ever has prompt text. */
import { isIP } from 'node:net';
import type { FastifyRequest } from 'fastify';
import { isId } from '../../base/ids.ts';
import { type Span, type TraceContext, traceIdOf } from '../../observability/tracing.ts';
import { PROBE_ROUTES } from '../routes/probes.ts';
import type { App, ProbeServices } from '../services.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** What is known of a request by the time its answer is out, for its line and its measurements. */
    seen?: {
      readonly span?: Span | undefined;
      tenant?: string;
      jobId?: string;
      /** Code of the problem that it was answered with. */
      problem?: string;
    };
  }
}

/** Status for requests whose client left before the answer was out, as nginx has it. */
const CLIENT_GONE = 499;

/** Logs, measures and traces every request until its answer is out or its client gone. */
export function installObservation(
  app: App,
  { metrics, tracing }: Pick<ProbeServices, 'metrics' | 'tracing'>,
): void {
  app.addHook('onRequest', async (request, reply) => {
    const { method } = request;
    const route = request.routeOptions.url ?? 'unmatched';
    const isProbe = PROBE_ROUTES.has(route);
    const span = isProbe
      ? undefined
      : tracing?.start(`${method} ${route}`, {
          kind: 'server',
          parent: traceContextOf(request),
          attributes: {
            'http.request.method': method,
            'http.route': route,
            'loradrop.request.id': request.id,
          },
        });
    if (span) request.log = request.log.child({ traceId: traceIdOf(span.context) });
    const seen: NonNullable<FastifyRequest['seen']> = { span };
    request.seen = seen;
    // Not onResponse, which is silent about clients that leave, and event streams mostly end that way.
    let answered = false;
    reply.raw.once('finish', () => {
      answered = true;
    });
    reply.raw.once('close', () => {
      const status = answered ? reply.statusCode : CLIENT_GONE;
      const { tenant, problem } = seen;
      const jobId = seen.jobId ?? jobIdOf(request, route);
      metrics.observeRequest({ method, route, status, seconds: reply.elapsedTime / 1000, problem, tenant });
      const line = {
        method,
        route,
        status,
        ms: Math.round(reply.elapsedTime),
        client: clientAddress(request),
        ...(tenant !== undefined && { tenant }),
        ...(jobId !== undefined && { jobId }),
        ...(problem !== undefined && { code: problem }),
      };
      // Not at `info`, which they would fill.
      if (isProbe) request.log.debug(line, 'request');
      else request.log.info(line, 'request');
      if (span) endSpan(span, status, { ...seen, jobId });
    });
  });
}

/** The job that a request's path names. */
function jobIdOf({ params }: FastifyRequest, route: string): string | undefined {
  const { id = '' } = (params ?? {}) as { id?: string };
  return route.startsWith('/jobs/:id') && isId(id) ? id : undefined;
}

function endSpan(
  span: Span,
  status: number,
  { tenant, jobId, problem }: { tenant?: string; jobId?: string | undefined; problem?: string },
): void {
  span.set({
    'http.response.status_code': status,
    ...(tenant !== undefined && { 'loradrop.tenant': tenant }),
    ...(jobId !== undefined && { 'loradrop.job.id': jobId }),
  });
  // By convention a refusal is the client's failure and not the server's.
  if (status >= 500) span.fail(problem ?? String(status));
  span.end();
}

/** The trace that the client is in. What is malformed counts as none. */
function traceContextOf({ headers }: FastifyRequest): TraceContext | undefined {
  const { traceparent, tracestate } = headers;
  if (typeof traceparent !== 'string') return undefined;
  return { traceparent, ...(typeof tracestate === 'string' && { tracestate }) };
}

/** The client's address: as a trusted proxy forwards it where that is an address, else the connection's own. */
function clientAddress({ ip, raw }: FastifyRequest): string | undefined {
  return isIP(ip) === 0 ? raw.socket.remoteAddress : ip;
}
