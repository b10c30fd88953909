/** `POST /adapters/{id}/transform`: adapters there are become a new one, by a job like any other. */
import type { FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { adapterErrors } from '../../adapter/errors.ts';
import { canBeGguf, checkGgufTarget } from '../../adapter/gguf-architecture.ts';
import { newId } from '../../base/ids.ts';
import type { AdapterInfo } from '../../jobs/adapter-info.ts';
import { targetOfAdapter } from '../../models/gguf-target.ts';
import {
  createAcceptJob,
  JOB_FAILURES,
  JOB_FORMS,
  JOB_REQUEST_FAILURES,
  JOB_RESPONSES,
  PREFER_HEADER,
  refuseWhenDraining,
} from '../accept-job.ts';
import { findAdapter } from '../find-adapter.ts';
import { jobIdOfKey } from '../idempotency-key.ts';
import { jobContext, refuseOversized } from '../job-payload.ts';
import { negotiate } from '../negotiate.ts';
import type { ProblemCode } from '../problem.ts';
import { ACCESS_FAILURES, problemResponses, QUEUE_FAILURES, UNSAFE_FAILURES } from '../problem-responses.ts';
import { IdParams, transformRequest } from '../schemas.ts';
import type { App, HttpServices } from '../services.ts';
import type { StoredUsage } from '../stored-usage.ts';
import { makeTransformPayload } from '../transform-payload.ts';

const FAILURES: readonly ProblemCode[] = [
  ...ACCESS_FAILURES,
  ...UNSAFE_FAILURES,
  ...QUEUE_FAILURES,
  ...JOB_REQUEST_FAILURES,
  ...JOB_FAILURES,
  'id-invalid',
  'field-unknown',
  'idempotency-key-invalid',
  'gguf-unsupported',
  'gguf-heads-unknown',
];

const DESCRIPTION = `Makes a new adapter of this one, of others of the same base, or of both, without training. The adapters
that are named stay as they are.

1. The adapter is multiplied with \`weight\`; those of \`add\` are added with theirs. A sum is exact, and its rank is the sum of
   the ranks: a step \`rank\` cuts it down.
2. The steps of \`transform\` follow in their order. Numbers are worked out in float64 and rounded once.

What a step left of the adapter is told as \`transform.energyKept\` of the new adapter. Answers like \`POST /generate\`.`;

/** Registers the route. `closing` ends streams and waits when the application closes. */
export function registerTransform(
  app: App,
  services: HttpServices,
  { stored, closing }: { stored: StoredUsage; closing: AbortSignal },
): void {
  const { limits, random, now = Date.now } = services;
  const acceptJob = createAcceptJob(services, { stored, closing });
  app.post(
    '/adapters/:id/transform',
    {
      config: { produces: JOB_FORMS, access: 'generate' },
      onRequest: refuseWhenDraining(services, closing),
      preValidation: async (request: FastifyRequest) => refuseOversized(request.body, limits),
      schema: {
        tags: ['adapters'],
        operationId: 'transformAdapter',
        summary: 'Scale, cut or add up adapters',
        description: DESCRIPTION,
        params: IdParams,
        headers: Type.Object({
          ...PREFER_HEADER,
          'idempotency-key': Type.Optional(Type.String({ description: 'As with `POST /generate`.' })),
        }),
        body: transformRequest(limits),
        response: { ...JOB_RESPONSES, ...problemResponses(...FAILURES) },
      },
    },
    async (request, reply) => {
      const { params, body, headers, caller } = request;
      const form = negotiate(headers.accept, JOB_FORMS)!;
      const key = headers['idempotency-key'];
      const fresh = key === undefined;
      const id = fresh ? newId('job', random) : jobIdOfKey(key);
      const store = services.store.of(caller.tenant);
      const named = [{ adapter: params.id, weight: body.weight }, ...(body.add ?? [])];
      const terms = await Promise.all(
        named.map(async ({ adapter, weight = 1 }) => ({
          adapter: await findAdapter(store, adapter, now),
          weight,
        })),
      );
      if (body.format === 'gguf') {
        const target = targetOfAdapter(terms[0]!.adapter.info as AdapterInfo, services.models);
        checkGgufTarget(target, []);
        if (!canBeGguf(target)) {
          throw adapterErrors.headsUnknown('Nobody has told how many attention heads the base has.');
        }
      }
      const context = await jobContext(services, { id, wanted: body, request });
      return acceptJob(makeTransformPayload(body, terms, context), { id, fresh, form }, request, reply);
    },
  );
}
