/** 405 with `Allow` for addresses that exist under other methods. */
import { httpErrors } from '../errors.ts';
import type { App } from '../services.ts';

/**
 * Notes every route that is added from now on; the function it returns, called after the last one, adds the refusals.
 */
export function collectMethods(app: App): () => void {
  const methodsOf = new Map<string, Set<string>>();
  let collecting = true;
  app.addHook('onRoute', ({ url, method }) => {
    if (!collecting) return;
    const methods = methodsOf.get(url) ?? new Set();
    for (const each of [method].flat()) methods.add(each);
    methodsOf.set(url, methods);
  });
  return () => {
    collecting = false;
    for (const [url, methods] of methodsOf) {
      app.route({
        url,
        method: app.supportedMethods.filter((method) => !methods.has(method)),
        schema: { hide: true },
        // As early as can be: the body of a request that is refused anyway is not looked at.
        onRequest: async (_request, reply) => {
          reply.header('allow', [...methods].sort().join(', '));
          throw httpErrors.methodNotAllowed(`The address takes ${[...methods].sort().join(', ')}.`);
        },
        handler: async () => undefined,
      });
    }
  };
}
