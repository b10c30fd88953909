/** `/openapi.json`: the API described by itself. */
import { Type } from 'typebox';
import { problemResponses } from '../problem-responses.ts';
import type { App } from '../services.ts';

/** Registers the route. */
export function registerOpenapi(app: App): void {
  app.get(
    '/openapi.json',
    {
      config: { produces: ['application/json'], access: 'public' },
      schema: {
        tags: ['service'],
        operationId: 'getOpenapi',
        summary: 'This document',
        response: {
          200: {
            description: 'OpenAPI 3.1.',
            content: { 'application/json': { schema: Type.Object({}, { additionalProperties: true }) } },
          },
          ...problemResponses(),
        },
      },
    },
    async () => app.swagger(),
  );
}
