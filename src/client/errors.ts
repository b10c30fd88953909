import type { Job, Problem } from './types.ts';

/** The service refused a request, or failed at it: RFC 9457's problem as an error. Branch on `code`, which is stable. */
export class ProblemError extends Error {
  override readonly name = 'ProblemError';
  readonly status: number;
  /** `prompts-empty`, `queue-full` …; `unknown` for an answer that is no problem document, such as a proxy's. */
  readonly code: string;
  readonly problem: Partial<Problem> | undefined;
  /** Seconds after which the service wants to be asked again, where it said so. */
  readonly retryAfterSeconds: number | undefined;

  constructor(status: number, problem: Partial<Problem> | undefined, retryAfterSeconds: number | undefined) {
    const { title = `The service answered ${status} without a reason.`, detail = '' } = problem ?? {};
    super(`${title} ${detail}`.trim());
    this.status = status;
    this.code = problem?.code ?? 'unknown';
    this.problem = problem;
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

/** No answer came, after all attempts: the service is not there, or the connection broke. `cause` has the platform's error. */
export class UnreachableError extends Error {
  override readonly name = 'UnreachableError';
}

/** A job that was waited for has failed or was canceled. */
export class JobEndedError extends Error {
  override readonly name = 'JobEndedError';
  readonly job: Job;

  constructor(job: Job) {
    super(
      `The job ${job.id} ${job.status === 'canceled' ? 'was canceled' : 'failed'}. ${job.error?.detail ?? ''}`.trim(),
    );
    this.job = job;
  }
}

/** A downloaded file is not the one that the service told the digest of. */
export class DigestError extends Error {
  override readonly name = 'DigestError';
}
