/** The OpenAPI document, made from the routes' schemas, and Swagger UI over it. */
import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import { ADAPTER_LIST_COMPONENTS } from '../adapter-list-schemas.ts';
import { CHAT_COMPONENTS } from '../chat-schemas.ts';
import { FILE_COMPONENTS } from '../file-schemas.ts';
import { FINE_TUNING_COMPONENTS } from '../fine-tuning-schemas.ts';
import { HUB_COMPONENTS } from '../hub-schemas.ts';
import { MARK_SVG } from '../mark.ts';
import { NAME_COMPONENTS } from '../name-schemas.ts';
import { COMPONENTS } from '../schemas.ts';
import type { App } from '../services.ts';
import { showToldLimits } from '../told-limits.ts';

/** Version of the API: changes when a client would have to. */
const API_VERSION = '1.0.0';

const DESCRIPTION = `Prompts in, LoRA adapter out. A generation is a job: \`POST /generate\` accepts it, \`GET /jobs/{id}\` and its event
stream follow it, \`GET /adapters/{id}\` has what it made.

Every failure is a problem document (RFC 9457); branch on its \`code\`, which \`GET /problems/{code}\` explains. Unknown
fields and parameters are refused. Answers carry \`X-Request-Id\`, the client's own where it sent a well-formed one.
429 and 503 come with \`Retry-After\`. Jobs, adapters and ids belong to the tenant of the key that a request comes with;
those of other tenants do not exist for it.`;

const KEY_DESCRIPTION =
  'A key made with `loradrop keys create`. A service on a loopback address without keys is open and takes none.';

/** The mark with room around it, as high as the page's own bar wants it. */
const LOGO = MARK_SVG.replace('<svg', '<svg width="40" height="40"');

/** Collects routes that are added after it into the document. */
export async function installOpenapi(app: App): Promise<void> {
  for (const schema of [
    ...COMPONENTS,
    ...ADAPTER_LIST_COMPONENTS,
    ...NAME_COMPONENTS,
    ...HUB_COMPONENTS,
    ...CHAT_COMPONENTS,
    ...FILE_COMPONENTS,
    ...FINE_TUNING_COMPONENTS,
  ])
    app.addSchema(schema);
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Loradrop',
        version: API_VERSION,
        description: DESCRIPTION,
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      },
      servers: [{ url: '/', description: 'This service.' }],
      components: {
        securitySchemes: {
          apiKey: { type: 'http', scheme: 'bearer', description: KEY_DESCRIPTION },
          apiKeyAsPassword: {
            type: 'http',
            scheme: 'basic',
            description: 'The same key as the password of any user, for clients that can only do that.',
          },
        },
      },
      tags: [
        { name: 'generate', description: 'Ask for adapters.' },
        { name: 'jobs', description: 'Follow and cancel the work.' },
        { name: 'adapters', description: 'Fetch and delete what was made.' },
        { name: 'names', description: 'Mutable aliases of adapters.' },
        {
          name: 'hub',
          description:
            'Adapters as repositories, read by clients of the Hugging Face Hub with `HF_ENDPOINT` set to this service and `HF_TOKEN` to a key. The addresses, fields and headers are those clients’.',
        },
        { name: 'models', description: 'The generators there are.' },
        {
          name: 'chat',
          description:
            'Base models in llama.cpp, asked with and without adapters, in the shape of OpenAI’s API. Failures have its shape, too.',
        },
        {
          name: 'fine-tuning',
          description:
            'Files and fine-tuning jobs in the shape of OpenAI’s API, for its clients: adapters generated from the prompts of a file, without gradient steps.',
        },
        { name: 'service', description: 'Probes, metrics, and what failures mean.' },
      ],
    },
    transformObject: (made) =>
      showToldLimits('openapiObject' in made ? made.openapiObject : made.swaggerObject),
    // Without it components would be called def-0, def-1 …
    refResolver: {
      buildLocalReference: (schema, _base, _fragment, index) => String(schema['$id'] ?? `schema-${index}`),
    },
  });
}

/** Serves Swagger UI under `/docs`, with nothing loaded from elsewhere. */
export async function installDocs(app: App): Promise<void> {
  await app.register(swaggerUi, {
    routePrefix: '/docs',
    staticCSP: {
      'default-src': "'self'",
      'img-src': ["'self'", 'data:'],
      'style-src': ["'self'", "'unsafe-inline'"],
      'frame-ancestors': "'none'",
    },
    // Without these the page has the logo of the framework that serves it.
    logo: { type: 'image/svg+xml', content: Buffer.from(LOGO), href: '/docs', target: '_self' },
    theme: {
      title: 'Loradrop API',
      favicon: [
        {
          filename: 'mark.svg',
          rel: 'icon',
          type: 'image/svg+xml',
          sizes: 'any',
          content: Buffer.from(MARK_SVG),
        },
      ],
    },
    uiConfig: { docExpansion: 'list', tryItOutEnabled: true },
  });
}
