/** `/v1/models`: bases that can be asked, alone and with adapters, and models that fine-tuning jobs have made. */
import { Type } from 'typebox';
import { isId, isName } from '../../base/ids.ts';
import { chatErrors } from '../../chat/errors.ts';
import { FINE_TUNING_PREFIX } from '../../finetuning/ids.ts';
import { inSeconds } from '../../finetuning/present-job.ts';
import type { AdapterInfo } from '../../jobs/adapter-info.ts';
import type { StoredAdapter } from '../../store/store.ts';
import { ChatModel, ChatModelDeleted, ChatModelList } from '../chat-schemas.ts';
import { listFineTuning } from '../fine-tuning-jobs.ts';
import { openaiResponses } from '../openai-responses.ts';
import type { ProblemCode } from '../problem.ts';
import { ACCESS_FAILURES, QUEUE_FAILURES } from '../problem-responses.ts';
import { refTo } from '../schemas.ts';
import type { App, HttpServices } from '../services.ts';

/** Most named adapters, and most models of fine-tuning jobs, that the listing has; others are asked by their id or name all the same. */
const MAX_LISTED = 100;
const JSON_ONLY = ['application/json'] as const;
const FAILURES: readonly ProblemCode[] = [...ACCESS_FAILURES, 'store-unavailable'];
const ModelParams = Type.Object({ model: Type.String({ minLength: 1, maxLength: 300 }) });

/** Registers the routes. */
export function registerChatModels(
  app: App,
  { chat, store, queue, deployments, now = Date.now }: HttpServices,
): void {
  const bases = async () => (await chat?.bases()) ?? [];
  const find = async (tenant: string, id: string): Promise<StoredAdapter | undefined> => {
    const adapter = isId(id) ? await store.of(tenant).find(id) : undefined;
    return adapter && adapter.expiresAt > now() ? adapter : undefined;
  };
  const baseOf = ({ info }: StoredAdapter) => (info as AdapterInfo).baseModel;
  const present = (id: string, created: number, owner: string, parent?: string): ChatModel => ({
    id,
    object: 'model',
    created: inSeconds(created),
    owned_by: owner,
    ...(parent !== undefined && { parent }),
  });

  /** The model that a fine-tuning job has made, by its name. */
  const findTuned = async (tenant: string, id: string) => {
    const adapter = await find(tenant, id);
    return adapter && (adapter.info as AdapterInfo).jobId.startsWith(FINE_TUNING_PREFIX)
      ? adapter
      : undefined;
  };

  const named = async (tenant: string): Promise<ChatModel[]> => {
    const there = await bases();
    const own = store.of(tenant);
    const names = there.length > 0 ? await own.names.list({ limit: MAX_LISTED }) : [];
    const found = await Promise.all(
      names.map(async ({ name, current }) => ({
        name,
        current,
        adapter: await find(tenant, current.adapter),
      })),
    );
    return there.flatMap((base) => [
      present(base.id, base.changedAt, 'base'),
      ...found.flatMap(({ name, current, adapter }) =>
        adapter && baseOf(adapter) === base.id
          ? [present(`${base.id}+${name}`, current.setAt, tenant, base.id)]
          : [],
      ),
    ]);
  };

  const tuned = async (tenant: string): Promise<ChatModel[]> => {
    const { jobs } = await listFineTuning(queue.of(tenant), { limit: MAX_LISTED, status: 'succeeded' });
    const found = await Promise.all(jobs.map(({ payload }) => find(tenant, payload.adapterIds[0]!)));
    return found.flatMap((adapter) =>
      adapter ? [present(adapter.id, adapter.createdAt, tenant, baseOf(adapter))] : [],
    );
  };

  app.get(
    '/v1/models',
    {
      config: { produces: JSON_ONLY, access: 'read' },
      schema: {
        tags: ['chat'],
        operationId: 'listChatModels',
        summary: 'Bases that can be asked, alone and with each named adapter, and models of fine-tuning jobs',
        response: { 200: refTo(ChatModelList), ...openaiResponses(...FAILURES, ...QUEUE_FAILURES) },
      },
    },
    async ({ caller: { tenant } }) => ({
      object: 'list' as const,
      data: [...(await named(tenant)), ...(await tuned(tenant))],
    }),
  );

  app.get(
    '/v1/models/:model',
    {
      config: { produces: JSON_ONLY, access: 'read' },
      schema: {
        tags: ['chat'],
        operationId: 'getChatModel',
        summary: 'A base, a base with an adapter, or the model of a fine-tuning job',
        params: ModelParams,
        response: {
          200: refTo(ChatModel),
          ...openaiResponses(...FAILURES, 'id-invalid', 'chat-model-not-found'),
        },
      },
    },
    async ({ params: { model }, caller: { tenant } }) => {
      const base = (await bases()).find(({ id }) => id === model || model.startsWith(`${id}+`));
      if (base?.id === model) return present(base.id, base.changedAt, 'base');
      const name = base ? model.slice(base.id.length + 1) : model;
      const current = isName(name) ? (await store.of(tenant).names.find(name))?.current.adapter : undefined;
      const adapter = await find(tenant, current ?? name);
      if (!adapter || (base && baseOf(adapter) !== base.id)) throw noModel();
      return present(model, adapter.createdAt, tenant, baseOf(adapter));
    },
  );

  app.delete(
    '/v1/models/:model',
    {
      config: { produces: JSON_ONLY, access: 'generate' },
      schema: {
        tags: ['chat'],
        operationId: 'deleteChatModel',
        summary: 'Delete the model of a fine-tuning job, with its files',
        params: ModelParams,
        response: {
          200: refTo(ChatModelDeleted),
          ...openaiResponses(
            ...FAILURES,
            ...QUEUE_FAILURES,
            'id-invalid',
            'chat-model-not-found',
            'cross-site-refused',
          ),
        },
      },
    },
    async ({ params: { model }, log, caller: { tenant } }) => {
      const adapter = await findTuned(tenant, model);
      if (!adapter || !(await store.of(tenant).remove(adapter.id))) throw noModel();
      // The reconciler finds those for which this fails.
      await deployments
        .takeBackAdapter({ tenant, id: adapter.id })
        .catch((error) => log.warn({ err: error, adapter: adapter.id }, 'deployments not taken back'));
      log.info({ tenant, adapter: adapter.id }, 'adapter deleted');
      return { id: model, object: 'model' as const, deleted: true as const };
    },
  );
}

const noModel = () => chatErrors.modelNotFound('No model of yours has this name.');
