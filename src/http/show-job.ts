/** A job's record → what clients see of it, with what is kept elsewhere. */
import type { GenerateRecord } from '../jobs/generate-queue.ts';
import { presentJob } from './present-job.ts';
import type { Job } from './schemas.ts';
import type { HttpServices } from './services.ts';

/**
 * Shows a job as it stands now, with the links that it was asked for with; in a listing without them, and without the
 * prompts' digests. While the store does not answer there are no links: how a job stands does not depend on the store.
 * Errors: `queue-unavailable`.
 */
export type ShowJob = (record: GenerateRecord, options?: { listed?: boolean }) => Promise<Job>;

/** Makes a {@link ShowJob}. */
export function createShowJob({
  models,
  store,
  copies,
  deployments,
  links,
  logger,
}: Pick<HttpServices, 'models' | 'store' | 'copies' | 'deployments' | 'links' | 'logger'>): ShowJob {
  const linksOf = (record: GenerateRecord) =>
    links.ofJob(record).catch((error) => {
      logger.warn(
        { err: error, tenant: record.tenant, jobId: record.id },
        'a job is shown without its links',
      );
      return undefined;
    });
  return async (record, { listed = false } = {}) => {
    const [copy, handed, made] = await Promise.all([
      copies.find(record),
      listed ? undefined : deployments.ofJob(record),
      listed ? undefined : linksOf(record),
    ]);
    return presentJob(record, {
      models,
      store,
      copy,
      deployments: handed,
      digests: !listed,
      ...(made && { links: made }),
    });
  };
}
