import type { GeneratePayload } from './catalog.ts';
import { jobErrors } from './errors.ts';

/**
 * Fails a fine-tuning job whose file was found to be unusable when it was accepted: clients of OpenAI's API learn of that from the
 * job, not from the request. Errors: `training-file-invalid`.
 */
export function refuseTrainingFile({ fineTuning }: Pick<GeneratePayload, 'fineTuning'>): void {
  if (fineTuning?.refusal) {
    const { file, detail } = fineTuning.refusal;
    throw jobErrors.trainingFile(detail, { fields: [{ pointer: `/${file}`, message: 'cannot be used' }] });
  }
}
