/** Jobs of a running service as text. */
import type { Client, Job } from '../client/client.ts';
import { formatBytes, formatTable, type Output } from './output.ts';

/** A job in one row of a table with {@link JOB_COLUMNS}. */
export function jobRow(job: Job): string[] {
  const status =
    job.status === 'processing'
      ? `${job.stage} ${Math.round(job.fraction * 100)} %`
      : job.status === 'queued' && job.position !== undefined
        ? `queued, ${job.position} before it`
        : job.status;
  return [job.id, status, job.model, String(job.count), job.acceptedAt, job.name ?? ''];
}

/** The heads of {@link jobRow}'s columns. */
export const JOB_COLUMNS = ['id', 'status', 'model', 'adapters', 'accepted', 'name'];

/** What there is to know of one job. */
export function jobText(job: Job): string {
  const [id = '', status = '', model = '', count = '', accepted = '', name = ''] = jobRow(job);
  const seconds =
    job.timings?.totalMs === undefined ? [] : [['took', `${(job.timings.totalMs / 1000).toFixed(2)} s`]];
  return formatTable([
    ['job', id],
    ['status', status],
    ['model', model],
    ['adapters', count],
    ...(name === '' ? [] : [['name', name]]),
    ['seed', String(job.seed)],
    ['accepted', accepted],
    ...seconds,
    ...job.adapters.map((adapter) => [
      'adapter',
      [
        adapter.id,
        ...(adapter.bytes === undefined ? [] : [formatBytes(adapter.bytes), `sha256 ${adapter.sha256}`]),
      ].join('  '),
    ]),
    ...job.warnings.map((warning) => ['warning', warning]),
    ...(job.error ? [['error', `${job.error.title} ${job.error.detail} [${job.error.code}]`]] : []),
  ]);
}

/** Follows a job with a bar until it has succeeded. Errors: `JobEndedError`, those of the client. */
export async function watchJob(
  client: Client,
  id: string,
  { output, signal }: { output: Output; signal: AbortSignal },
): Promise<Job> {
  const bar = output.progress(id);
  try {
    const job = await client.waitForJob(id, {
      signal,
      onProgress: ({ fraction, stage, position }) =>
        bar.update(
          fraction,
          stage === 'queued' && position !== undefined ? `queued, ${position} before it` : stage,
        ),
    });
    bar.update(1, 'done');
    return job;
  } finally {
    bar.stop();
  }
}
