import { sha256 } from '../base/digest.ts';
import type { TenantId } from '../base/ids.ts';
import type { FineTuningEvent } from './events.ts';

/** The JSON text of a message about a fine-tuning job, as OpenAI's webhooks have it: it names the job, which tells the rest. */
export function writeFineTuningMessage(
  type: FineTuningEvent,
  { tenant, id, at }: TenantId & { readonly at: number },
): string {
  return JSON.stringify({
    id: `evt_${sha256(`${tenant}/${id}/${at}/${type}`).slice(0, 32)}`,
    object: 'event',
    created_at: Math.floor(at / 1000),
    type,
    data: { id },
  });
}
