import { sha256 } from '../base/digest.ts';
import type { Validation } from '../jobs/validations.ts';
import { validationMetrics } from './events.ts';
import { endOf, type FineTuningRecord, fineTuningStatus, inSeconds } from './present-job.ts';

/**
 * The checkpoints of a job in OpenAI's shape: none until it has succeeded, then the adapter, after step 0 since there are no
 * steps. Its metrics are those of the validation, where there was one.
 */
export function fineTuningCheckpoints(record: FineTuningRecord, validation: Validation | undefined) {
  if (fineTuningStatus(record, validation) !== 'succeeded') return [];
  const { id, payload } = record;
  const measured =
    validation?.state === 'ended' && validation.outcome === 'measured' ? validation : undefined;
  return [
    {
      object: 'fine_tuning.job.checkpoint' as const,
      id: `ftckpt-${sha256(`${id}/${payload.acceptedAt}`).slice(0, 24)}`,
      created_at: inSeconds(endOf(record, validation) ?? payload.acceptedAt),
      fine_tuned_model_checkpoint: payload.adapterIds[0]!,
      fine_tuning_job_id: id,
      step_number: 0,
      metrics: { step: 0, ...(measured && validationMetrics(measured)) },
    },
  ];
}
