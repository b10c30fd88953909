/** `/models`: the generators there are. */
import { presentModel } from '../present-model.ts';
import { ACCESS_FAILURES, problemResponses } from '../problem-responses.ts';
import { Model, ModelList, ModelParams, refTo } from '../schemas.ts';
import type { App, HttpServices } from '../services.ts';

/** Registers the routes. */
export function registerModels(app: App, services: Pick<HttpServices, 'models' | 'unloadable'>): void {
  const { models } = services;
  app.get(
    '/models',
    {
      config: { produces: ['application/json'], access: 'read' },
      schema: {
        tags: ['models'],
        operationId: 'listModels',
        summary: 'List models',
        response: { 200: refTo(ModelList), ...problemResponses(...ACCESS_FAILURES) },
      },
    },
    async () => ({
      models: models.list().map((bundle) => presentModel(bundle, services)),
      refused: [...models.problems],
    }),
  );

  app.get(
    '/models/:id',
    {
      config: { produces: ['application/json'], access: 'read' },
      schema: {
        tags: ['models'],
        operationId: 'getModel',
        summary: 'A model',
        params: ModelParams,
        response: {
          200: refTo(Model),
          ...problemResponses(...ACCESS_FAILURES, 'id-invalid', 'model-not-found'),
        },
      },
    },
    async ({ params }) => presentModel(models.get(params.id), services),
  );
}
