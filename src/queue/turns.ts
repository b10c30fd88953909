/**
 * Whose turn it is: tenants take turns, and inside a tenant the urgent jobs go first. BullMQ starts jobs by priority
 * number and, among equal ones, in the order in which they got it. So the first job of each tenant's line has the
 * smallest number, and all others wait behind these, by their own priority. When a job starts, the next one of its tenant
 * gets the small number and with it the last place among the tenants. A crash between two steps costs fairness for a
 * moment and never a job: every job waits in BullMQ all the time, and free workers take those behind as well.
 */
import type { BullQueue, StoredBullJob } from './backend.ts';
import type { IndexEntry, JobIndex } from './job-index.ts';
import { envelopeOf, fromQueueId, toQueueId } from './stored-job.ts';

/** BullMQ's priority of jobs whose turn is next: the smallest, since zero stands for those that go before all. */
const NEXT = 1;
const PRIORITIES = Array.from({ length: 10 }, (_, priority) => priority);
/** BullMQ's priority of jobs behind the first of their tenant. Numbers up to 10 are left to jobs of before there were turns. */
const behind = (priority: number) => 10 + PRIORITIES.length - priority;
/** Every number a waiting job may have. Those without one are canceled, or start next since their worker died. */
export const WAITING_NUMBERS: readonly number[] = [
  ...PRIORITIES.map((priority) => priority + 1),
  ...PRIORITIES.map(behind),
];
/** An entry this old whose job is not there was left by a crash: a job is added right after its entry. */
const LEFTOVER_AGE_MS = 60_000;
/** Entries of a line looked at in one go: those before the first that waits have started or were left by a crash. */
const MAX_LOOKED_AT = 20;

/** Puts jobs in turn. */
export type Turns = {
  /** Notes a new job, before it is added. `number` is the priority it is to have in BullMQ. */
  accept(
    entry: IndexEntry,
    options: { expiresAt: number; priority: number; notifyAt?: number },
  ): Promise<{ readonly number: number; readonly ahead: number; readonly waiting: number }>;
  /** To be called once the job has been added: the one that was first till then waits behind it. */
  added(entry: IndexEntry, place: { readonly ahead: number; readonly waiting: number }): Promise<void>;
  /** The job will not run: the next of its tenant has its turn. */
  leave(entry: IndexEntry): Promise<void>;
  /** Asked by a worker that holds the job: false when its tenant runs as many as it may, itself not counted. */
  mayRun(job: StoredBullJob): Promise<boolean>;
  /** The job's run has begun: it leaves the line, and the next of its tenant has its turn. */
  started(job: StoredBullJob): Promise<void>;
  /** The job's run has ended; `again` when it will be run once more. */
  ended(job: StoredBullJob, options: { again: boolean }): Promise<void>;
  /** Gives every tenant's first job its turn where a crash has prevented that. */
  mend(): Promise<void>;
};

/** The index entry of a job that a worker holds. */
function entryOfJob(job: StoredBullJob): IndexEntry {
  return { ...fromQueueId(job.id ?? ''), acceptedAt: job.timestamp };
}

/** Makes {@link Turns} over a queue and its index. */
export function createTurns(queue: BullQueue, index: JobIndex, now: () => number = Date.now): Turns {
  const load = (entry: IndexEntry): Promise<StoredBullJob | undefined> => queue.getJob(toQueueId(entry));

  /** True while the job waits for a worker, with a number or for its next attempt. */
  async function waits(entry: IndexEntry): Promise<boolean> {
    const state = await queue.getJobState(toQueueId(entry));
    return state === 'prioritized' || state === 'waiting' || state === 'delayed';
  }

  async function callNext(tenant: string): Promise<void> {
    for (const entry of await index.line(tenant, MAX_LOOKED_AT)) {
      const job = await load(entry);
      if (job && job.timestamp === entry.acceptedAt && (await waits(entry))) {
        if (job.priority > NEXT) await job.changePriority({ priority: NEXT });
        if (job.delay > 0 && job.data.maxRunning !== undefined) await job.promote().catch(() => undefined);
        return;
      }
      if (job || now() - entry.acceptedAt > LEFTOVER_AGE_MS) await index.leaveLine(entry);
    }
  }

  async function leave(entry: IndexEntry): Promise<void> {
    await index.leaveLine(entry);
    await callNext(entry.tenant);
  }

  return {
    async accept(entry, options) {
      const { ahead, waiting } = await index.add(entry, options);
      return { number: ahead === 0 ? NEXT : behind(options.priority), ahead, waiting };
    },
    async added(entry, { ahead, waiting }) {
      if (ahead > 0 || waiting < 2) return;
      const [, second] = await index.line(entry.tenant, 2);
      const job = second && (await load(second));
      if (!job || job.priority !== NEXT) return;
      // To the front of those behind: it was there before them.
      await job.changePriority({ priority: behind(envelopeOf(job.data).priority), lifo: true });
    },
    leave,
    async mayRun(job) {
      const { maxRunning } = job.data;
      if (maxRunning === undefined) return true;
      const { tenant } = entryOfJob(job);
      const active = await queue.getRanges(['active'], 0, -1);
      return active.filter((id) => fromQueueId(id).tenant === tenant).length <= maxRunning;
    },
    started: (job) => leave(entryOfJob(job)),
    async ended(job, { again }) {
      const entry = entryOfJob(job);
      if (again) await index.enterLine(entry, envelopeOf(job.data).priority);
      if (job.data.maxRunning !== undefined) await callNext(entry.tenant);
    },
    async mend() {
      for (const tenant of await index.tenants()) await callNext(tenant);
    },
  };
}
