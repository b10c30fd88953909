import { baseErrors, type LoradropError, toLoradropError } from '../base/errors.ts';
import type { StoredBullJob } from './backend.ts';
import { queueErrors } from './errors.ts';
import type { JobFailure, JobProgress, JobRecord, JobStatus } from './queue.ts';
import { envelopeOf, fromQueueId } from './stored-job.ts';

/** What BullMQ stores as the reason when a job lost its worker more often than is allowed. */
const STALLED_TOO_OFTEN = 'job stalled more than allowable limit';

const NO_PROGRESS: JobProgress = { sequence: 0, stage: 'queued', fraction: 0, adapter: 0 };

/** A failure as the text that BullMQ keeps of it. */
export function encodeFailure(error: LoradropError): string {
  const failure: JobFailure = {
    code: error.code,
    title: error.title,
    detail: error.message,
    ...(error.fields.length > 0 && { fields: error.fields }),
  };
  return JSON.stringify(failure);
}

/** True for a job that failed since it lost its worker too often: no code of ours was there. */
export function hasLostItsWorkers({ failedReason }: StoredBullJob): boolean {
  return failedReason === STALLED_TOO_OFTEN;
}

function decodeFailure(reason: string | undefined): JobFailure {
  if (reason?.startsWith('{')) return JSON.parse(reason) as JobFailure;
  const error =
    reason === STALLED_TOO_OFTEN
      ? queueErrors.workersLost('Its prompts or its bundle may need more memory than the workers have.')
      : toLoradropError(new Error(reason));
  return { code: error.code, title: error.title, detail: error.message };
}

/** The progress a job's workers have reported last; that of a job which none has run yet stands at zero. */
export function readProgress(job: StoredBullJob): JobProgress {
  // BullMQ's own initial value is the number 0.
  return typeof job.progress === 'object' ? (job.progress as JobProgress) : NO_PROGRESS;
}

function statusOf(job: StoredBullJob, active: boolean): JobStatus {
  // First, so that a job which was shown as canceled stays so, whatever its worker still does.
  if (job.data.canceled) return 'canceled';
  // A reason may be left over from an earlier run that was tried again; a result cannot.
  if (job.finishedOn !== undefined) return job.returnvalue ? 'succeeded' : 'failed';
  return active ? 'processing' : 'queued';
}

function progressOf(job: StoredBullJob, status: JobStatus): JobProgress {
  const last = readProgress(job);
  if (status === 'processing') return last;
  if (status === 'queued') return { ...NO_PROGRESS, sequence: last.sequence };
  // One step on, so that whoever has seen the last report still learns that the job has ended.
  const end = { ...last, sequence: last.sequence + 1 };
  return status === 'succeeded' ? { ...end, stage: 'done', fraction: 1 } : end;
}

/** A job as clients see it. `active` tells that a worker holds it now. */
export function toJobRecord(
  job: StoredBullJob,
  { active, position }: { active: boolean; position?: number | undefined },
): JobRecord {
  const { canceled, origin } = job.data;
  const status = statusOf(job, active);
  const startedAt = canceled ? canceled.startedAt : status === 'queued' ? undefined : job.processedOn;
  const finishedAt = canceled ? canceled.at : job.finishedOn;
  return {
    ...fromQueueId(job.id ?? ''),
    status,
    payload: envelopeOf(job.data),
    progress: progressOf(job, status),
    attempts: canceled ? canceled.attempts : job.attemptsStarted,
    ...(status === 'queued' && position !== undefined && { position }),
    ...(startedAt !== undefined && { startedAt }),
    ...(finishedAt !== undefined && { finishedAt }),
    ...(status === 'succeeded' && { result: job.returnvalue }),
    ...(status === 'failed' && { failure: decodeFailure(job.failedReason) }),
    ...(origin && { origin }),
  };
}

/** The failure a canceled run ends with. */
export function canceledFailure(): LoradropError {
  return baseErrors.canceled('The job was canceled.');
}
