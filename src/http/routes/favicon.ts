/** `/favicon.ico`: browsers ask for it whatever page they show. */
import { MARK_ICO } from '../mark.ts';
import type { App } from '../services.ts';

/** Registers the route. It is no part of the API, so the document does not tell of it. */
export function registerFavicon(app: App): void {
  app.get('/favicon.ico', { config: { access: 'public' }, schema: { hide: true } }, async (_request, reply) =>
    reply.type('image/x-icon').header('cache-control', 'public, max-age=86400').send(MARK_ICO),
  );
}
