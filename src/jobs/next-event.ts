/** Which event of a job comes next for a receiver, and how the job stood when it happened. */
import type { WebhookEvent } from '../webhooks/events.ts';
import type { Copy } from './copies.ts';
import type { GenerateRecord } from './generate-queue.ts';
import type { Validation } from './validations.ts';

/** Share of the job between two progress events, so that a receiver gets ten at most from a job that runs once. */
const PROGRESS_STEP = 0.1;

/** The order of events; a job has one of those with the same place. A copy that was given up has none. */
const PLACES: Readonly<Record<WebhookEvent, number>> = {
  'job.queued': 0,
  'job.started': 1,
  'job.progress': 2,
  'job.succeeded': 3,
  'job.failed': 3,
  'job.canceled': 3,
  'fine_tuning.job.succeeded': 4,
  'fine_tuning.job.failed': 4,
  'fine_tuning.job.cancelled': 4,
  // Fine-tuning jobs are copied nowhere.
  'job.delivered': 4,
};

/** An event that has happened: the job as it was then, and when that was in milliseconds since the epoch. */
export type JobEvent = {
  readonly event: WebhookEvent;
  readonly at: number;
  readonly record: GenerateRecord;
  /** The job's copy as it was then; absent while it was to come. */
  readonly copy?: Copy;
};

/** The event a receiver was told of last, and how far the job was. */
export type LastEvent = { readonly event: WebhookEvent; readonly fraction: number };

/** What follows on a job and is kept beside it. */
export type Beside = { readonly copy?: Copy | undefined; readonly validation?: Validation | undefined };

/** The first event after `last` that has happened by now and is among `wanted`. */
export function nextEvent(
  record: GenerateRecord,
  wanted: readonly WebhookEvent[],
  { last, now, copy, validation }: Beside & { last?: LastEvent | undefined; now: number },
): JobEvent | undefined {
  const told = last ? PLACES[last.event] : -1;
  return eventsOf(record, now, { copy, validation }).find(({ event }) => {
    if (!wanted.includes(event)) return false;
    if (event === 'job.progress' && last?.event === event) {
      return record.progress.fraction >= last.fraction + PROGRESS_STEP;
    }
    return PLACES[event] > told;
  });
}

/** The events of a job that can be told from its record, in order. A progress that nobody was told of is not among them later. */
function eventsOf(record: GenerateRecord, now: number, { copy, validation }: Beside): JobEvent[] {
  const { status, payload, startedAt, finishedAt = now } = record;
  const events: JobEvent[] = [{ event: 'job.queued', at: payload.acceptedAt, record: asQueued(record) }];
  if (startedAt !== undefined)
    events.push({ event: 'job.started', at: startedAt, record: asStarted(record) });
  if (status === 'processing' && record.progress.fraction > 0)
    events.push({ event: 'job.progress', at: now, record });
  if (status === 'succeeded' || status === 'failed' || status === 'canceled') {
    events.push({ event: `job.${status}`, at: finishedAt, record });
    const ended = endOfFineTuning(record, validation);
    if (ended) events.push({ ...ended, record });
  }
  if (copy?.state === 'delivered') {
    events.push({ event: 'job.delivered', at: copy.endedAt ?? finishedAt, record, copy });
  }
  return events;
}

const FINE_TUNING_ENDS = {
  succeeded: 'fine_tuning.job.succeeded',
  failed: 'fine_tuning.job.failed',
  canceled: 'fine_tuning.job.cancelled',
} as const;

/** How a fine-tuning job has ended, and when; undefined while its adapter is still validated. */
function endOfFineTuning(
  { status, payload, finishedAt = payload.acceptedAt }: GenerateRecord,
  validation: Validation | undefined,
): Pick<JobEvent, 'event' | 'at'> | undefined {
  if (!payload.fineTuning || validation?.state === 'pending') return undefined;
  return {
    event: FINE_TUNING_ENDS[status as keyof typeof FINE_TUNING_ENDS],
    at: validation ? Math.max(finishedAt, validation.endedAt) : finishedAt,
  };
}

function asQueued({ tenant, id, payload, progress }: GenerateRecord): GenerateRecord {
  const atStart = { sequence: progress.sequence, stage: 'queued', fraction: 0, adapter: 0 } as const;
  return { tenant, id, payload, status: 'queued', attempts: 0, progress: atStart };
}

function asStarted(record: GenerateRecord): GenerateRecord {
  const { attempts, startedAt, progress } = record;
  return {
    ...asQueued(record),
    status: 'processing',
    attempts: Math.max(1, attempts),
    progress: { sequence: progress.sequence, stage: 'loading', fraction: 0, adapter: 0 },
    ...(startedAt !== undefined && { startedAt }),
  };
}
