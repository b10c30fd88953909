import { type BackendFactory, type IQueueBackend, Queue, QueueEvents, Worker } from 'bullmq';
import type { QueueBackend } from './backend.ts';

/** Makes BullMQ's view of one queue over a connection that the factory itself knows. */
export type BullFactory = BackendFactory<IQueueBackend, unknown>;

/** What BullMQ's objects of one backend have in common. */
export type BullObjectsOptions = {
  readonly producers: BullFactory;
  readonly consumers: BullFactory;
  /** Longest wait for an event before the stream is read anew. */
  readonly eventWaitMs: number;
  /** Told of errors of BullMQ's objects, for the log: calls that fail reject as well. */
  readonly onError: (error: Error, part: string) => void;
};

/** Keeps our keys apart from others' in one Redis. The braces put them all on one node of a cluster, as BullMQ's scripts need. */
export const KEY_PREFIX = '{loradrop}';
/** Keeps our queues apart from those of other BullMQ users of one PostgreSQL database. */
const NAME_PREFIX = 'loradrop-';
/**
 * Longest an idle worker blocks before it asks again. BullMQ wakes idle workers itself, except for a prioritised job that
 * was handed back on Redis, which would otherwise wait five seconds.
 */
const IDLE_WAIT_S = 1;
/** Pause after a call that failed because the connection was down. BullMQ's default would add 15 s to every outage. */
const RECONNECT_PAUSE_MS = 1000;
/** The factories bring the connection; BullMQ only checks that there is one. */
const common = { prefix: KEY_PREFIX, connection: {} as unknown };

/** The makers of BullMQ objects that every {@link QueueBackend} has; only the factories differ. */
export function bullObjects(options: BullObjectsOptions): Pick<QueueBackend, 'queue' | 'worker' | 'events'> {
  const { producers, consumers, eventWaitMs, onError } = options;
  // Without a listener an error event would be written to the console; the calls themselves reject as well.
  const logErrors = (part: string) => (error: Error) => onError(error, part);
  return {
    queue(name) {
      const queue: ReturnType<QueueBackend['queue']> = new Queue(NAME_PREFIX + name, common, producers);
      return queue.on('error', logErrors(`${name} queue`));
    },
    worker(name, processor, { concurrency, lockMs, stalledMs, maxStalled }) {
      const worker: ReturnType<QueueBackend['worker']> = new Worker(
        NAME_PREFIX + name,
        processor,
        {
          ...common,
          concurrency,
          lockDuration: lockMs,
          stalledInterval: stalledMs,
          maxStalledCount: maxStalled,
          drainDelay: IDLE_WAIT_S,
          runRetryDelay: RECONNECT_PAUSE_MS,
          // See `QueueBackend.worker`.
          autorun: false,
        },
        consumers,
      );
      return worker.on('error', logErrors(`${name} worker`));
    },
    events(name) {
      const events: ReturnType<QueueBackend['events']> = new QueueEvents(
        NAME_PREFIX + name,
        { ...common, blockingTimeout: eventWaitMs },
        consumers,
      );
      return events.on('error', logErrors(`${name} events`));
    },
  };
}
