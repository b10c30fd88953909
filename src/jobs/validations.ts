/** Validations of fine-tuning jobs' adapters: a job of their own, kept in a queue of their own. */
import type { Figures, Verdict } from '../evaluation/statistics.ts';
import type { QueueBackend } from '../queue/backend.ts';
import type { QueueCounts } from '../queue/queue.ts';
import { openServiceQueue } from '../queue/service-queue.ts';
import { JOB_CATALOG, type ValidatePayload } from './catalog.ts';
import { followUpName } from './follow-up.ts';
import type { GenerateRecord } from './generate-queue.ts';

/** What a validation measured. */
export type Measured = {
  readonly outcome: 'measured';
  /** Rows that were scored, and labelled rows of the file. */
  readonly rows: number;
  readonly labelled: number;
  readonly base: Figures;
  readonly adapter: Figures;
  /** The adapter's figures minus the base's, paired by row. */
  readonly difference: Figures;
  readonly verdict: Verdict;
  readonly endedAt: number;
};

/** How a validation ended: with figures, or with the reason why there are none. */
export type ValidationResult =
  | Measured
  | {
      readonly outcome: 'skipped';
      /** A sentence for the client. */
      readonly reason: string;
      readonly endedAt: number;
    };

/** A job's validation as it stands. */
export type Validation = { readonly state: 'pending' } | ({ readonly state: 'ended' } & ValidationResult);

/** Where validations are kept. */
export type Validations = {
  /** The job's validation; undefined when there is none to come, since the job names no file or did not succeed. */
  find(record: GenerateRecord): Promise<Validation | undefined>;
  /** The same, and the validation of a job that has succeeded is durably in the queue then. */
  follow(record: GenerateRecord): Promise<Validation | undefined>;
  /** Removes what belongs to a job, which ends with its record. Idempotent. */
  remove(record: GenerateRecord): Promise<void>;
  counts(): Promise<QueueCounts>;
  close(): Promise<void>;
};

/** True for a job whose adapter is validated, or will be once it is there. */
function isValidated({ payload, status }: GenerateRecord): boolean {
  return payload.fineTuning?.validationFile !== undefined && status !== 'failed' && status !== 'canceled';
}

/** Opens the queue of validations. Errors: `queue-unavailable`. */
export async function openValidations({ backend }: { backend: QueueBackend }): Promise<Validations> {
  const queue = await openServiceQueue<ValidatePayload, ValidationResult>({
    backend,
    name: 'validate',
    ...JOB_CATALOG.validate.timing,
  });

  async function find(record: GenerateRecord, add: boolean): Promise<Validation | undefined> {
    if (!isValidated(record)) return undefined;
    if (record.status !== 'succeeded') return { state: 'pending' };
    const job = await queue.find(followUpName(record));
    if (job?.result) return { state: 'ended', ...job.result };
    if (job?.state === 'failed') {
      const reason = 'It could not be carried out; the log of the service has the reason.';
      return { state: 'ended', outcome: 'skipped', reason, endedAt: record.finishedAt ?? 0 };
    }
    if (!job && add) {
      const { acceptedAt, adapterIds, seed, fineTuning } = record.payload;
      await queue.add(followUpName(record), {
        jobId: record.id,
        jobAcceptedAt: acceptedAt,
        adapterId: adapterIds[0]!,
        file: fineTuning!.validationFile!,
        base: fineTuning!.baseModel,
        seed,
      });
    }
    return { state: 'pending' };
  }

  return {
    find: (record) => find(record, false),
    follow: (record) => find(record, true),
    remove: (record) => (isValidated(record) ? queue.remove(followUpName(record)) : Promise.resolve()),
    counts: () => queue.counts(),
    close: () => queue.close(),
  };
}
