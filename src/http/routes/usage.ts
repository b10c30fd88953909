/** `/usage`: what the caller's key is, and what its tenant has of what it may have. */
import { ACCESS_FAILURES, problemResponses, QUEUE_FAILURES } from '../problem-responses.ts';
import { refTo, Usage } from '../schemas.ts';
import type { App, HttpServices } from '../services.ts';
import { MAX_FILES, type StoredUsage } from '../stored-usage.ts';

/** Registers the route. */
export function registerUsage(app: App, { queue }: Pick<HttpServices, 'queue'>, stored: StoredUsage): void {
  app.get(
    '/usage',
    {
      config: { produces: ['application/json'], access: 'read' },
      schema: {
        tags: ['service'],
        operationId: 'getUsage',
        summary: 'Who you are, and what you use of what you may',
        description:
          'Jobs, adapters, files and bytes are counted for the tenant, over all its keys; requests for the key. A bound that is left out does not exist. Adapters, files and bytes are at most ten seconds old.',
        response: {
          200: refTo(Usage),
          ...problemResponses(...ACCESS_FAILURES, ...QUEUE_FAILURES, 'store-unavailable'),
        },
      },
    },
    async ({ caller }) => {
      const { tenant, keyName, scopes, expiresAt, limits } = caller;
      const [jobs, kept] = await Promise.all([queue.of(tenant).usage(), stored.of(tenant)]);
      const of = (used: number, limit: number | undefined) => ({
        used,
        ...(limit !== undefined && { limit }),
      });
      return {
        tenant,
        ...(keyName !== undefined && { key: keyName }),
        scopes: [...scopes],
        ...(expiresAt && { expiresAt: expiresAt.toISOString() }),
        requests: {
          ...(limits.requestsPerSecond !== undefined && { perSecond: limits.requestsPerSecond }),
          ...(limits.requestBurst !== undefined && { burst: limits.requestBurst }),
        },
        waitingJobs: of(jobs.waiting, limits.waitingJobs),
        runningJobs: of(jobs.running, limits.runningJobs),
        adapters: of(kept.adapters, limits.adapters),
        files: of(kept.files, MAX_FILES),
        storedBytes: of(kept.bytes, limits.storedBytes),
      };
    },
  );
}
