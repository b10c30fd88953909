/** Bounds on connections: how many are open, how long they may take, and how probes are answered when there are too many. */
import type { Socket } from 'node:net';
import type { FastifyServerOptions } from 'fastify';
import type { Logger } from '../../observability/logger.ts';
import { httpErrors } from '../errors.ts';
import type { ConnectionLimits } from '../front-door.ts';
import { PROBE_ROUTES } from '../routes/probes.ts';
import type { App } from '../services.ts';

/** Connections kept for probes: monitoring opens a few at a time, and one in sixteen is no loss where there are few at all. */
const MAX_RESERVE = 64;
const RESERVED_SHARE = 1 / 16;
/** Node looks for late clients this often at most, and otherwise four times in the shortest limit. */
const MAX_CHECK_MS = 5000;
/** One line in a minute says that the limit is reached; a flood must not fill the log too. */
const WARN_EVERY_MS = 60_000;

/** The limits on time, as the framework and Node's server take them. */
export function serverTimeouts(limits: ConnectionLimits): Pick<
  FastifyServerOptions,
  'requestTimeout' | 'keepAliveTimeout'
> & {
  http: {
    requestTimeout: number;
    headersTimeout: number;
    connectionsCheckingInterval: number;
    requireHostHeader: false;
  };
} {
  const { headersTimeoutMs, requestTimeoutMs, keepAliveMs } = limits;
  const shortest = Math.min(headersTimeoutMs, requestTimeoutMs);
  return {
    requestTimeout: requestTimeoutMs,
    keepAliveTimeout: keepAliveMs,
    http: {
      requestTimeout: requestTimeoutMs,
      headersTimeout: headersTimeoutMs,
      connectionsCheckingInterval: Math.min(MAX_CHECK_MS, Math.ceil(shortest / 4)),
      // A missing Host is answered with a problem, as all else is (see host-check.ts).
      requireHostHeader: false,
    },
  };
}

/**
 * Holds the application to `maxConnections`. A connection without a request in progress is idle, also while its headers are
 * on their way; when there are too many, the one idle longest is closed, which a client makes up for by connecting again.
 * Requests may take all connections but a reserve, beyond which only probes are answered: so there is always an idle
 * connection to close, and a new one always gets in. (With `localhost` for a host the framework also listens on the
 * machine's other loopback address; connections to that one are not counted.)
 */
export function installConnections(
  app: App,
  { maxConnections }: Pick<ConnectionLimits, 'maxConnections'>,
  logger: Logger,
): void {
  const reserve = Math.min(MAX_RESERVE, Math.ceil(maxConnections * RESERVED_SHARE));
  // In the order in which they became idle.
  const idle = new Set<Socket>();
  const requests = new Map<Socket, number>();
  let warnedAt = Number.NEGATIVE_INFINITY;
  const warn = () => {
    if (performance.now() - warnedAt < WARN_EVERY_MS) return;
    warnedAt = performance.now();
    logger.warn(
      { maxConnections, inUse: requests.size },
      'MAX_CONNECTIONS is reached; idle connections are closed',
    );
  };

  app.server.on('connection', (socket: Socket) => {
    idle.add(socket);
    socket.once('close', () => {
      idle.delete(socket);
      requests.delete(socket);
    });
    if (idle.size + requests.size <= maxConnections) return;
    warn();
    const [oldest] = idle;
    if (oldest === undefined) return;
    idle.delete(oldest);
    oldest.destroy();
  });

  const finish = (socket: Socket) => {
    const left = (requests.get(socket) ?? 0) - 1;
    if (left > 0) requests.set(socket, left);
    else if (requests.delete(socket) && !socket.destroyed) idle.add(socket);
  };
  app.addHook('onRequest', async (request, reply) => {
    const { socket } = request.raw;
    if (!idle.delete(socket) && !requests.has(socket)) return;
    requests.set(socket, (requests.get(socket) ?? 0) + 1);
    reply.raw.once('close', () => finish(socket));
    if (requests.size <= maxConnections - reserve || PROBE_ROUTES.has(request.routeOptions.url ?? '')) return;
    warn();
    throw httpErrors.tooManyConnections('Every connection that requests may take is in use.');
  });
}
