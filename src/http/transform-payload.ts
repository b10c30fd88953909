/** A transform request → the job's payload, everything refused that could be known before anything is queued. */
import { checkSteps, checkSum } from '../arithmetic/plan.ts';
import { sha256Json } from '../base/digest.ts';
import type { AdapterInfo } from '../jobs/adapter-info.ts';
import type { GeneratePayload } from '../jobs/catalog.ts';
import type { StoredAdapter } from '../store/store.ts';
import { checkDeploy, plannedRank } from './deploy-request.ts';
import { DEFAULT_PRIORITY, type JobContext, jobPayload } from './job-payload.ts';
import { UNTRAINED_NOTICE } from './present-model.ts';
import type { TransformRequest } from './schemas.ts';

/** A term of the sum: what is multiplied with `weight`. */
export type TransformTerm = { readonly adapter: StoredAdapter; readonly weight: number };

/**
 * The payload of a job that makes one adapter of these. Errors: `transform-unfit` for bases that differ, ranks that add up to
 * too much and steps that do not fit; those that all jobs have.
 */
export function makeTransformPayload(
  request: TransformRequest,
  terms: readonly TransformTerm[],
  context: JobContext,
): GeneratePayload {
  const common = jobPayload(request, context);
  const infos = terms.map(({ adapter }) => adapter.info as AdapterInfo);
  const first = infos[0]!;
  const { transform = [], dtype = first.dtype } = request;
  checkSum(infos.map(({ baseModel: base, rank }) => ({ base, rank })));
  const rank = infos.reduce((sum, info) => sum + info.rank, 0);
  checkSteps(transform, { rank, modules: Math.max(...infos.map(({ tensors }) => tensors / 2)) });
  checkDeploy(request.deploy, context, {
    base: first.baseModel,
    rank: plannedRank(rank, transform),
    gguf: request.format === 'gguf',
  });
  const { priority = DEFAULT_PRIORITY, setName = false, format, ...rest } = request;
  return {
    ...common,
    ...(request.format === 'gguf' && { format: request.format }),
    model: first.model,
    bundleDigest: first.bundleDigest,
    prompts: [],
    draws: [[]],
    adapterIds: [context.id],
    sources: terms.map(({ adapter: { id }, weight }) => ({ id, weight })),
    transform,
    seed: first.seed,
    dtype,
    warnings: infos.every(({ trained }) => trained) ? [] : [UNTRAINED_NOTICE],
    fingerprint: sha256Json({
      ...rest,
      sources: terms.map(({ adapter: { id }, weight }) => [id, weight]),
      priority,
      ...(format === 'gguf' && { format }),
      ...(setName && { setName }),
    }),
  };
}
