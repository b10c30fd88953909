/** `/deployments`: adapters at the model servers of the operator’s deploy targets. */
import { fitOf } from '../../jobs/deployments.ts';
import { decodeCursor, encodeCursor } from '../../queue/cursor.ts';
import { servingErrors } from '../../serving/errors.ts';
import { checkFit, findTarget } from '../../serving/targets.ts';
import {
  DEFAULT_PAGE,
  DeploymentList,
  DeploymentListQuery,
  DeploymentParams,
  DeploymentView,
  DeployRequest,
} from '../deployment-schemas.ts';
import { findAdapter } from '../find-adapter.ts';
import { deploymentUrl } from '../links.ts';
import { presentDeployment } from '../present-deployment.ts';
import type { ProblemCode } from '../problem.ts';
import { ACCESS_FAILURES, problemResponses, QUEUE_FAILURES, UNSAFE_FAILURES } from '../problem-responses.ts';
import { IdParams, refTo } from '../schemas.ts';
import type { App, HttpServices } from '../services.ts';

const JSON_ONLY = ['application/json'] as const;
const FAILURES: readonly ProblemCode[] = [...ACCESS_FAILURES, ...QUEUE_FAILURES, 'id-invalid'];

/** Registers the routes. */
export function registerDeployments(
  app: App,
  { store, targets, deployments, now = Date.now }: HttpServices,
): void {
  const find = async (tenant: string, id: string) => {
    const found = await deployments.find({ tenant, id });
    if (!found) throw servingErrors.notFound('No deployment has this id.');
    return found;
  };

  app.post(
    '/adapters/:id/deploy',
    {
      config: { produces: JSON_ONLY, access: 'generate' },
      schema: {
        tags: ['deployments'],
        operationId: 'deployAdapter',
        summary: 'Load an adapter on model servers',
        description:
          'A job of its own loads it on every replica of the target, checks that each applies it, and keeps it there until it is taken back, deleted or expires. Asked for again, it answers with the deployment there is.',
        params: IdParams,
        body: DeployRequest,
        response: {
          202: {
            description: 'It is on its way.',
            content: { 'application/json': { schema: refTo(DeploymentView) } },
            headers: { location: { type: 'string', description: 'The deployment.' } },
          },
          ...problemResponses(
            ...FAILURES,
            ...UNSAFE_FAILURES,
            'field-unknown',
            'adapter-not-found',
            'store-unavailable',
            'deploy-target-unknown',
            'deploy-unfit',
            'quota-deployments-exceeded',
          ),
        },
      },
    },
    async ({ params, body, caller: { tenant }, log }, reply) => {
      const adapter = await findAdapter(store.of(tenant), params.id, now);
      checkFit(findTarget(targets, tenant, body.target), fitOf(adapter));
      const deployment = await deployments.add(adapter, body);
      log.info({ deployment: deployment.id, adapter: params.id, target: body.target }, 'deployment accepted');
      return reply
        .code(202)
        .header('location', deploymentUrl(deployment.id))
        .send(presentDeployment(deployment));
    },
  );

  app.get(
    '/deployments',
    {
      config: { produces: JSON_ONLY, access: 'read' },
      schema: {
        tags: ['deployments'],
        operationId: 'listDeployments',
        summary: 'List deployments, newest first',
        querystring: DeploymentListQuery,
        response: {
          200: refTo(DeploymentList),
          ...problemResponses(...ACCESS_FAILURES, ...QUEUE_FAILURES, 'field-unknown', 'cursor-invalid'),
        },
      },
    },
    async ({ query: { cursor, limit = DEFAULT_PAGE }, caller: { tenant } }) => {
      const before = cursor === undefined ? undefined : decodeCursor(tenant, cursor);
      const page = await deployments.list(tenant, { limit, ...(before && { before }) });
      return {
        deployments: page.deployments.map(presentDeployment),
        ...(page.nextBefore && { nextCursor: encodeCursor(page.nextBefore) }),
      };
    },
  );

  app.get(
    '/deployments/:id',
    {
      config: { produces: JSON_ONLY, access: 'read' },
      schema: {
        tags: ['deployments'],
        operationId: 'getDeployment',
        summary: 'How a deployment stands at every replica',
        params: DeploymentParams,
        response: { 200: refTo(DeploymentView), ...problemResponses(...FAILURES, 'deployment-not-found') },
      },
    },
    async ({ params, caller: { tenant } }) => presentDeployment(await find(tenant, params.id)),
  );

  app.delete(
    '/deployments/:id',
    {
      config: { produces: JSON_ONLY, access: 'generate' },
      schema: {
        tags: ['deployments'],
        operationId: 'deleteDeployment',
        summary: 'Unload an adapter from model servers',
        description:
          'The adapter stays in the store. Replicas that are away are told when they answer again.',
        params: DeploymentParams,
        response: {
          202: {
            description: 'It is being unloaded.',
            content: { 'application/json': { schema: refTo(DeploymentView) } },
          },
          ...problemResponses(...FAILURES, 'deployment-not-found', 'cross-site-refused'),
        },
      },
    },
    async ({ params, caller: { tenant }, log }, reply) => {
      const deployment = await find(tenant, params.id);
      if (deployment.wanted) await deployments.takeBack(deployment);
      log.info({ deployment: params.id }, 'deployment taken back');
      return reply.code(202).send(presentDeployment(await find(tenant, params.id)));
    },
  );
}
