/** The HTTP application: a function of its services. It neither listens nor opens anything. */

import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import Fastify, { type FastifyBaseLogger, type FastifyInstance, LogController } from 'fastify';
import { LOOPBACK_DOOR, type TrustedProxies } from './front-door.ts';
import { installAccess } from './plugins/access.ts';
import { installBodies } from './plugins/bodies.ts';
import { installClosing } from './plugins/closing.ts';
import { installConnections, serverTimeouts } from './plugins/connections.ts';
import { installHeaders, installRequestChecks, MAX_URL_CHARS, requestIdOf } from './plugins/headers.ts';
import { installHostCheck } from './plugins/host-check.ts';
import { collectMethods } from './plugins/methods.ts';
import { installNegotiation } from './plugins/negotiation.ts';
import { installObservation } from './plugins/observe.ts';
import { installDocs, installOpenapi } from './plugins/openapi-document.ts';
import { answerClientError, answerFrameworkError, installProblems } from './plugins/problems.ts';
import { buildSerializer } from './plugins/serialization.ts';
import { installValidation } from './plugins/validation.ts';
import { registerAdapters } from './routes/adapters.ts';
import { registerChat } from './routes/chat.ts';
import { registerConsole } from './routes/console.ts';
import { registerDeliveries } from './routes/deliveries.ts';
import { registerDeployments } from './routes/deployments.ts';
import { registerFavicon } from './routes/favicon.ts';
import { registerGenerate } from './routes/generate.ts';
import { registerHub } from './routes/hub.ts';
import { registerJobs } from './routes/jobs.ts';
import { registerLinks } from './routes/links.ts';
import { registerModels } from './routes/models.ts';
import { registerNames } from './routes/names.ts';
import { registerNorms } from './routes/norms.ts';
import { registerOpenapi } from './routes/openapi.ts';
import { registerPreview } from './routes/preview.ts';
import { registerProbes } from './routes/probes.ts';
import { registerProblems } from './routes/problems.ts';
import { registerTransform } from './routes/transform.ts';
import { registerUsage } from './routes/usage.ts';
import { registerFiles } from './routes/v1-files.ts';
import { registerFineTuning } from './routes/v1-fine-tuning.ts';
import { registerChatModels } from './routes/v1-models.ts';
import type { App, HttpServices, ProbeServices } from './services.ts';
import { createStoredUsage } from './stored-usage.ts';

/** Bodies of a process that only answers probes: none are expected. */
const PROBE_BODY_BYTES = 1024;

/** The whole API. Closing the application ends event streams and waits; the services stay the caller's to close. */
export async function buildApp(services: HttpServices): Promise<FastifyInstance> {
  const { app, closing } = createApp(services, services.limits.maxBodyBytes, services.random);
  const stored = createStoredUsage(services, services.now);
  installAccess(app, services);
  await installBodies(app, services.limits);
  await installOpenapi(app);
  const refuseOtherMethods = collectMethods(app);
  registerGenerate(app, services, { stored, closing });
  registerJobs(app, services, closing);
  registerDeliveries(app, services);
  registerAdapters(app, services);
  registerDeployments(app, services);
  registerTransform(app, services, { stored, closing });
  registerLinks(app, services);
  registerNames(app, services);
  await registerHub(app, services);
  registerModels(app, services);
  registerChat(app, services, closing);
  registerChatModels(app, services);
  await registerFiles(app, services, stored);
  registerFineTuning(app, services, { stored, closing });
  registerPreview(app, services);
  registerNorms(app, services, closing);
  registerConsole(app);
  registerUsage(app, services, stored);
  registerProbes(app, services);
  registerProblems(app);
  registerOpenapi(app);
  registerFavicon(app);
  refuseOtherMethods();
  await installDocs(app);
  await app.ready();
  return app as unknown as FastifyInstance;
}

/** Probes and metrics alone, for a process that is only a worker. */
export async function buildProbeApp(services: ProbeServices): Promise<FastifyInstance> {
  const { app } = createApp(services, PROBE_BODY_BYTES);
  const { authenticate, rates } = services;
  if (authenticate && rates) installAccess(app, { authenticate, rates });
  await installOpenapi(app);
  const refuseOtherMethods = collectMethods(app);
  registerProbes(app, services);
  registerProblems(app);
  refuseOtherMethods();
  await app.ready();
  return app as unknown as FastifyInstance;
}

/** An application without routes: how requests are named, checked, logged and refused. */
function createApp(
  services: ProbeServices,
  bodyLimit: number,
  random?: (bytes: number) => Uint8Array,
): { app: App; closing: AbortSignal } {
  const { logger, frontDoor = LOOPBACK_DOOR } = services;
  const app: App = Fastify({
    loggerInstance: logger as FastifyBaseLogger,
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'requestId' }),
    bodyLimit,
    schemaController: { compilersFactory: { buildSerializer } },
    // The schemas say how long ids may be, and a wrong one is told like any other; the address as a whole has its own limit.
    routerOptions: { maxParamLength: MAX_URL_CHARS },
    ...serverTimeouts(frontDoor.connections),
    trustProxy: trustOf(frontDoor.trustedProxies),
    // Closing is ours to answer: with a problem, and only for what would start new work.
    return503OnClosing: false,
    genReqId: ({ headers }) => requestIdOf(headers, random),
    frameworkErrors: answerFrameworkError,
    clientErrorHandler: (error, socket) =>
      answerClientError(error, socket, { requestId: requestIdOf({}, random), logger }),
  }).withTypeProvider<TypeBoxTypeProvider>();
  const closing = installClosing(app);
  installValidation(app);
  installHeaders(app);
  installObservation(app, services);
  installConnections(app, frontDoor.connections, logger);
  installHostCheck(app, frontDoor.hosts);
  installRequestChecks(app);
  installNegotiation(app);
  installProblems(app);
  return { app, closing };
}

/** The framework's form of the trusted proxies; it takes no number, since one cannot tell whether the peer is a proxy. */
function trustOf(proxies: TrustedProxies | undefined) {
  if (proxies === undefined) return false;
  return typeof proxies === 'number' ? (_address: string, hop: number) => hop < proxies : [...proxies];
}
