/** The record of a generation that was asked for as a fine-tuning job → the job as OpenAI's API shows it. */
import type { FineTuning } from '../jobs/catalog.ts';
import type { GenerateRecord } from '../jobs/generate-queue.ts';
import type { Validation } from '../jobs/validations.ts';
import { RESULT_KINDS, type ResultKind, resultFileId } from './ids.ts';

/** A record whose payload is that of a fine-tuning job. */
export type FineTuningRecord = GenerateRecord & { readonly payload: { readonly fineTuning: FineTuning } };

/** True for the record of a fine-tuning job. */
export function isFineTuning(record: GenerateRecord): record is FineTuningRecord {
  return record.payload.fineTuning !== undefined;
}

/** What OpenAI's API calls the states of a job; `validating_files` and `paused` do not occur, since files are read with the request. */
export type FineTuningStatus = 'queued' | 'running' | 'succeeded' | 'failed' | 'cancelled';

/** How a job stands. It runs until its adapter has been validated, where that was asked for. */
export function fineTuningStatus(
  { status }: GenerateRecord,
  validation: Validation | undefined,
): FineTuningStatus {
  if (status === 'succeeded') return validation?.state === 'pending' ? 'running' : 'succeeded';
  return ({ queued: 'queued', processing: 'running', failed: 'failed', canceled: 'cancelled' } as const)[
    status
  ];
}

/** Times of OpenAI's API. */
export const inSeconds = (ms: number) => Math.floor(ms / 1000);

/** When the job ended, in milliseconds since the epoch; undefined while it goes on. */
export function endOf(record: FineTuningRecord, validation: Validation | undefined): number | undefined {
  const { status, finishedAt, payload } = record;
  if (status === 'canceled') return finishedAt ?? payload.acceptedAt;
  if (validation?.state === 'pending') return undefined;
  return validation ? Math.max(finishedAt ?? 0, validation.endedAt) : finishedAt;
}

/** The kinds of the files that a job's adapter consists of. */
export function resultKinds({ payload }: FineTuningRecord): ResultKind[] {
  return RESULT_KINDS.filter((kind) => kind !== 'gguf' || payload.format === 'gguf');
}

/** A failure as a sentence with its first details: line numbers stand there. */
export function failureText({ failure }: GenerateRecord): string {
  return failure ? failure.detail : 'The job failed.';
}

/** The job as OpenAI's API shows it. `trained_tokens` is null: nothing is trained. */
export function presentFineTuning(record: FineTuningRecord, validation: Validation | undefined) {
  const { id, tenant, payload, failure } = record;
  const { model, trainingFile, validationFile, suffix, hyperparameters } = payload.fineTuning;
  const status = fineTuningStatus(record, validation);
  const finishedAt = endOf(record, validation);
  const isThere = status === 'succeeded';
  return {
    object: 'fine_tuning.job' as const,
    id,
    created_at: inSeconds(payload.acceptedAt),
    finished_at: finishedAt === undefined ? null : inSeconds(finishedAt),
    model,
    fine_tuned_model: isThere ? payload.adapterIds[0]! : null,
    organization_id: `org-${tenant}`,
    status,
    error: status === 'failed' && failure ? presentError(record) : null,
    training_file: trainingFile,
    validation_file: validationFile ?? null,
    result_files: isThere ? resultKinds(record).map((kind) => resultFileId(id, kind)) : [],
    hyperparameters,
    method: { type: 'supervised' as const, supervised: { hyperparameters } },
    seed: payload.seed,
    trained_tokens: null,
    estimated_finish: null,
    integrations: [],
    metadata: payload.metadata ?? null,
    user_provided_suffix: suffix ?? null,
  };
}

/** Why the job failed. A file that cannot be used has OpenAI's code for that, which scripts look for. */
function presentError(record: FineTuningRecord) {
  const { refusal } = record.payload.fineTuning;
  return {
    code: refusal ? `invalid_${refusal.file}` : record.failure!.code,
    message: failureText(record),
    param: refusal?.file ?? null,
  };
}
