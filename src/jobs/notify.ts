/**
 * Turns what happens to jobs into deliveries of webhooks, copies to destinations, deployments and validations. That something is to follow on a job
 * is kept with its acceptance (`JobQueue.notices`) until all of it was delivered or given up. A step looks at what is stored and does the next
 * thing that is missing, so it may be cut off anywhere and done twice: whoever changes a job asks for one at once, and the
 * clock asks for those that were missed.
 */
import type { TenantId } from '../base/ids.ts';
import type { Logger } from '../observability/logger.ts';
import type { IndexEntry } from '../queue/job-index.ts';
import { isFinal } from '../queue/queue.ts';
import { isFineTuningEvent } from '../webhooks/events.ts';
import { writeFineTuningMessage } from '../webhooks/fine-tuning-message.ts';
import { writeMessage } from '../webhooks/message.ts';
import type { GeneratePayload } from './catalog.ts';
import type { Copies, Copy } from './copies.ts';
import { type Deliveries, type Delivery, jobOfDelivery } from './deliveries.ts';
import type { Deployments } from './deployments.ts';
import { jobOfFollowUp } from './follow-up.ts';
import type { GenerateQueue, GenerateRecord } from './generate-queue.ts';
import { type Beside, type JobEvent, nextEvent } from './next-event.ts';
import type { Validations } from './validations.ts';
import type { JobChange, JobHandler } from './workers.ts';

/** What notifying works with. */
export type NotifyServices = {
  readonly queue: Pick<GenerateQueue, 'of' | 'notices'>;
  readonly deliveries: Pick<Deliveries, 'list' | 'add'>;
  readonly copies: Pick<Copies, 'follow'>;
  readonly deployments: Pick<Deployments, 'follow'>;
  readonly validations: Pick<Validations, 'follow'>;
  /** The job as `GET /jobs/{id}` shows it. */
  readonly present: (record: GenerateRecord, copy?: Copy) => object | Promise<object>;
  readonly logger: Logger;
  readonly now?: () => number;
};

/** Sees to it that those who want to be told of jobs are, and that adapters are copied. */
export type Notifier = {
  /** Does the next step for a job soon. Never rejects: what fails is found by the clock. */
  hint(job: TenantId): void;
  /** The same for what a worker tells. */
  onChange(change: JobChange): void;
  /** Does the next step for every job whose time for that has come. */
  readonly sweep: JobHandler<'notify'>;
  /** Waits for the steps under way. */
  close(): Promise<void>;
};

/** A job that has not ended is looked at again after a share of its age within these bounds, in case a hint was lost. */
const LOOK_SHARE = 1 / 4;
const SOONEST_LOOK_MS = 15_000;
const LATEST_LOOK_MS = 300_000;
/** A job is added right after its notice; one that is not there by then was never accepted. */
const LEFTOVER_AGE_MS = 600_000;
/** A job's progress is looked at no more often than this. */
const PROGRESS_PAUSE_MS = 2000;
/** Jobs the pause is kept for; forgetting one costs a look. */
const MAX_PAUSES = 1000;
/** Notices read at a time, steps at once, and batches in one run of the clock. */
const BATCH = 200;
const STEPS_AT_ONCE = 8;
const MAX_BATCHES = 50;

/** True when something is to follow on a job: a message, a copy, a deployment or a validation. */
export function hasFollowUp({ webhooks, destination, deploy, fineTuning }: GeneratePayload): boolean {
  const validated = fineTuning?.validationFile !== undefined;
  return webhooks !== undefined || destination !== undefined || deploy !== undefined || validated;
}

function isPending({ copy, validation }: Beside): boolean {
  return copy?.state === 'pending' || validation?.state === 'pending';
}

/** When the clock first looks at a job, unless a hint has come before. */
export function firstLook(acceptedAt: number): number {
  return acceptedAt + SOONEST_LOOK_MS;
}

/** Makes a {@link Notifier}. */
export function createNotifier(services: NotifyServices): Notifier {
  const { queue, deliveries, copies, deployments, validations, present, logger } = services;
  const { now = Date.now } = services;
  /** Steps under way by job; true when another one was asked for meanwhile. */
  const steps = new Map<string, { again: boolean; readonly done: Promise<void> }>();
  const progressAt = new Map<string, number>();

  /** Adds the next delivery to one webhook where the one before has ended. True when nothing is to come. */
  async function tell(record: GenerateRecord, webhook: number, beside: Beside): Promise<boolean> {
    const { events } = record.payload.webhooks![webhook]!;
    const told = await deliveries.list(record, webhook);
    const last: Delivery | undefined = told.at(-1);
    if (last?.state === 'disabled') return true;
    if (last?.state === 'pending') return false;
    const next = nextEvent(record, events, { last: last?.payload, now: now(), ...beside });
    if (!next) return isFinal(record) && !isPending(beside);
    await deliveries.add(record, {
      webhook,
      number: told.length,
      event: next.event,
      fraction: next.record.progress.fraction,
      body: await messageOf(next),
      createdAt: now(),
    });
    return false;
  }

  async function messageOf({ event, at, record, copy }: JobEvent): Promise<string> {
    return isFineTuningEvent(event)
      ? writeFineTuningMessage(event, { ...record, at })
      : writeMessage({ type: event, at, data: await present(record, copy) });
  }

  async function step(job: TenantId, entry?: IndexEntry): Promise<void> {
    const record = await queue.of(job.tenant).find(job.id);
    const { notices } = queue;
    if (entry && record?.payload.acceptedAt !== entry.acceptedAt) {
      // Another job's id was taken, or a crash came between the notice and the job.
      if (record || now() - entry.acceptedAt > LEFTOVER_AGE_MS) await notices.drop(entry);
      else await notices.postpone(entry, now() + SOONEST_LOOK_MS);
      return;
    }
    if (!record) return;
    const { acceptedAt, webhooks = [] } = record.payload;
    const copy = await copies.follow(record);
    const deployed = await deployments.follow(record);
    const beside = { copy, validation: await validations.follow(record) };
    const over = await Promise.all(webhooks.map((_, webhook) => tell(record, webhook, beside)));
    const noted: IndexEntry = { ...job, acceptedAt };
    if (deployed && over.every(Boolean) && !isPending(beside)) return notices.drop(noted);
    const share = (now() - acceptedAt) * LOOK_SHARE;
    await notices.postpone(noted, now() + Math.min(Math.max(share, SOONEST_LOOK_MS), LATEST_LOOK_MS));
  }

  /** One step at a time for a job; a step that is asked for meanwhile is done after it. */
  function inTurn(job: TenantId, entry?: IndexEntry): Promise<void> {
    const key = `${job.tenant}/${job.id}`;
    const running = steps.get(key);
    if (running) {
      running.again = true;
      return running.done;
    }
    const run = async () => {
      try {
        do {
          state.again = false;
          await step(job, entry);
        } while (state.again);
      } finally {
        steps.delete(key);
      }
    };
    const state = { again: false, done: Promise.resolve() };
    steps.set(key, state);
    state.done = run();
    return state.done;
  }

  const hint = (job: TenantId) => {
    inTurn(job).catch((error) =>
      logger.warn(
        { err: error, tenant: job.tenant, jobId: job.id },
        'what follows on a job is looked at later',
      ),
    );
  };

  /** False when the job's progress was looked at just now. */
  function isDue({ tenant, id }: TenantId): boolean {
    const key = `${tenant}/${id}`;
    if (now() - (progressAt.get(key) ?? 0) < PROGRESS_PAUSE_MS) return false;
    if (progressAt.size >= MAX_PAUSES) progressAt.clear();
    progressAt.set(key, now());
    return true;
  }

  async function sweepOne(entry: IndexEntry): Promise<void> {
    await inTurn({ tenant: entry.tenant, id: entry.id }, entry).catch(async (error) => {
      logger.warn(
        { err: error, tenant: entry.tenant, jobId: entry.id },
        'what follows on a job was not looked at',
      );
      // Not to be in the way of those behind it.
      await queue.notices.postpone(entry, now() + SOONEST_LOOK_MS);
    });
  }

  return {
    hint,
    onChange({ name, kind, tenant, id }) {
      if (name === 'webhook') hint({ tenant, id: jobOfDelivery(id) });
      else if (name === 'validate' || name === 'copy') hint({ tenant, id: jobOfFollowUp(id) });
      // Nothing follows on a deployment.
      else if (name === 'deploy') return;
      else if (kind !== 'progress' || isDue({ tenant, id })) hint({ tenant, id });
    },
    async sweep({ signal }) {
      let looked = 0;
      for (let batch = 0; batch < MAX_BATCHES; batch++) {
        const due = await queue.notices.due(now(), BATCH);
        for (let at = 0; at < due.length; at += STEPS_AT_ONCE) {
          signal.throwIfAborted();
          await Promise.all(due.slice(at, at + STEPS_AT_ONCE).map(sweepOne));
        }
        looked += due.length;
        if (due.length < BATCH) break;
      }
      return { looked };
    },
    async close() {
      await Promise.allSettled([...steps.values()].map(({ done }) => done));
    },
  };
}
