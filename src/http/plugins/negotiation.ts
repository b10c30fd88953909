/** Refuses requests whose Accept header allows nothing that the route has, before a body is read. */
import { httpErrors } from '../errors.ts';
import { negotiate } from '../negotiate.ts';
import type { App } from '../services.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Media types the route can answer with, the preferred one first. */
    produces?: readonly [string, ...string[]];
  }
}

/** Makes the application hold every route to its `produces`. */
export function installNegotiation(app: App): void {
  app.addHook('onRequest', async ({ headers, routeOptions }) => {
    const { produces } = routeOptions.config;
    if (produces && negotiate(headers.accept, produces) === undefined) {
      throw httpErrors.notAcceptable(`There is ${produces.join(', ')}.`);
    }
  });
}
