/** Names of the jobs that follow on a generation: its messages, its copy, its validation. */
import type { TenantId } from '../base/ids.ts';
import type { GenerateRecord } from './generate-queue.ts';

/** The name of what follows on a job. The time tells apart two jobs of one id, of which the second came after the first had expired. */
export function followUpName({
  tenant,
  id,
  payload,
}: Pick<GenerateRecord, 'tenant' | 'id' | 'payload'>): TenantId {
  return { tenant, id: `${id}--${payload.acceptedAt}` };
}

/** The id of the job that something with the id of a {@link followUpName} follows on. */
export function jobOfFollowUp(id: string): string {
  return id.replace(/--[0-9]+$/, '');
}
