/** A job's record → what clients see of it, with what is kept elsewhere. */
import type { GenerateRecord } from '../jobs/generate-queue.ts';
import { presentJob } from './present-job.ts';
import type { Job } from './schemas.ts';
import type { HttpServices } from './services.ts';

/** Shows a job as it stands now, and `digests: false` without the prompts' digests. Errors: `queue-unavailable`. */
export type ShowJob = (record: GenerateRecord, options?: { digests?: boolean }) => Promise<Job>;

/** Makes a {@link ShowJob}. */
export function createShowJob({
  models,
  store,
  copies,
}: Pick<HttpServices, 'models' | 'store' | 'copies'>): ShowJob {
  return async (record, options) =>
    presentJob(record, { models, store, copy: await copies.find(record), ...options });
}
