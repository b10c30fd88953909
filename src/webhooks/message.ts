/** The body of a webhook: what has happened, when, and the job. */
import type { WebhookEvent } from './events.ts';

/** Receivers are promised less than 20 kB; the signature's headers and a proxy's own come on top. */
export const MAX_BODY_BYTES = 20_000;

/** The members of a job that may be large, the least missed first. */
type TrimmableJob = {
  readonly adapters?: readonly { readonly promptDigests?: readonly string[] }[];
  readonly metadata?: unknown;
  readonly warnings?: readonly string[];
  readonly error?: { readonly errors?: unknown };
};

/**
 * The JSON text of a message. A job that would make it too large loses its prompts' digests, then adapters from the end,
 * fields of its error, metadata and warnings; `trimmed` in the data names what is missing, and the job itself has it.
 */
export function writeMessage(message: { type: WebhookEvent; at: number; data: object }): string {
  const { type, at, data } = message;
  const write = (job: object) => JSON.stringify({ type, timestamp: new Date(at).toISOString(), data: job });
  const fits = (job: object) => Buffer.byteLength(write(job)) < MAX_BODY_BYTES;

  let job: TrimmableJob = data;
  const trimmed: string[] = [];
  const without = (part: string, rest: TrimmableJob) => {
    trimmed.push(part);
    job = { ...rest, trimmed } as TrimmableJob;
  };
  if (!fits(job) && job.adapters) {
    const adapters = job.adapters.map(({ promptDigests: _, ...adapter }) => adapter);
    without('adapters.promptDigests', { ...job, adapters });
  }
  if (!fits(job) && job.error?.errors) {
    const { errors: _, ...error } = job.error;
    without('error.errors', { ...job, error });
  }
  if (!fits(job) && job.adapters && job.adapters.length > 1) {
    without('adapters', job);
    let { length } = job.adapters ?? [];
    while (length > 1 && !fits(job)) {
      length = Math.floor(length / 2);
      job = { ...job, adapters: (job.adapters ?? []).slice(0, length) };
    }
  }
  if (!fits(job) && job.metadata) {
    const { metadata: _, ...rest } = job;
    without('metadata', rest);
  }
  if (!fits(job) && job.warnings) without('warnings', { ...job, warnings: [] });
  return write(job);
}
