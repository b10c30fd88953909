/** `/`: the console for browsers, an index of links for programs; and the console's files. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { type ConsoleFile, readConsoleFiles } from '../../console/files.ts';
import { httpErrors } from '../errors.ts';
import { negotiate } from '../negotiate.ts';
import { problemResponses } from '../problem-responses.ts';
import type { App } from '../services.ts';

const JSON_TYPE = 'application/json';
const PAGE_TYPE = 'text/html';

/** Everything comes from this service; nothing is inline, nothing is sent anywhere else. */
const PAGE_POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** Where programs find things. */
const INDEX = {
  name: 'Loradrop',
  console: '/',
  documentation: '/docs',
  openapi: '/openapi.json',
  generate: '/generate',
  jobs: '/jobs',
  adapters: '/adapters',
  names: '/names',
  models: '/models',
  usage: '/usage',
  problems: '/problems',
  chatModels: '/v1/models',
  live: '/livez',
  ready: '/readyz',
  metrics: '/metrics',
} as const;

/** Registers the routes. The files are read once, when a browser first asks. */
export function registerConsole(app: App): void {
  let reading: ReturnType<typeof readConsoleFiles> | undefined;
  const fileOf = async (name: string) => {
    reading ??= readConsoleFiles();
    return (await reading).get(name);
  };

  app.get(
    '/',
    {
      config: { produces: [JSON_TYPE, PAGE_TYPE], access: 'public' },
      schema: {
        tags: ['service'],
        operationId: 'getIndex',
        summary: 'Where things are; for browsers the console',
        response: {
          200: {
            description: 'Links relative to the service, or the console.',
            content: {
              [JSON_TYPE]: { schema: Type.Record(Type.String(), Type.String()) },
              [PAGE_TYPE]: { schema: Type.String() },
            },
          },
          ...problemResponses(),
        },
      },
    },
    async (request, reply) => {
      reply.header('vary', 'accept');
      if (negotiate(request.headers.accept, [JSON_TYPE, PAGE_TYPE]) === JSON_TYPE) return INDEX;
      reply.header('content-security-policy', PAGE_POLICY);
      return sendFile((await fileOf('index.html'))!, request, reply);
    },
  );

  const route = { config: { access: 'public' as const }, schema: { hide: true } };
  app.get<{ Params: { name: string } }>('/console/:name', route, async (request, reply) => {
    const file = await fileOf(request.params.name);
    if (!file) throw httpErrors.routeNotFound('The console has no such file.');
    return sendFile(file, request, reply);
  });
}

function sendFile(file: ConsoleFile, { headers }: FastifyRequest, reply: FastifyReply): FastifyReply {
  const tag = `"${file.sha256.slice(0, 32)}"`;
  // Asked for anew each time, and answered without bytes as long as it is the same.
  reply.headers({ 'cache-control': 'no-cache', etag: tag }).type(file.mediaType);
  const vary = reply.getHeader('vary');
  reply.header('vary', vary === undefined ? 'accept-encoding' : `${vary}, accept-encoding`);
  if (headers['if-none-match'] === tag) return reply.code(304).send();
  if (!/\bgzip\b/.test(headers['accept-encoding'] ?? '')) return reply.send(file.bytes);
  return reply.header('content-encoding', 'gzip').send(file.gzipped);
}
