/** Sending a job's events. */
import { Readable } from 'node:stream';
import type { FastifyReply } from 'fastify';
import type { GenerateRecord, TenantGenerateQueue } from '../jobs/generate-queue.ts';
import { connectionSignal } from './await-job.ts';
import { jobEvents } from './job-events.ts';
import { presentLinkedJob } from './present-job.ts';
import type { HttpServices } from './services.ts';

/** Where events come from: the caller’s own jobs. */
type EventSources = Pick<HttpServices, 'models' | 'links' | 'logger' | 'heartbeatMs'> & {
  readonly queue: Pick<TenantGenerateQueue, 'watch'>;
};

/** Media type of server-sent events. */
export const EVENT_STREAM = 'text/event-stream';

/**
 * Answers with the job's event stream until its final event, the client's leaving, or `closing`. The client's pace holds
 * the stream back; states it misses meanwhile are skipped, the final one never.
 */
export function sendEvents(
  { queue, models, links, logger, heartbeatMs }: EventSources,
  reply: FastifyReply,
  { id, lastEventId, closing }: { id: string; lastEventId?: number | undefined; closing: AbortSignal },
): FastifyReply {
  const signal = connectionSignal(reply, closing);
  const present = (record: GenerateRecord) => presentLinkedJob(record, { models, links, logger });
  const events = jobEvents(queue.watch(id, { signal }), { present, signal, lastEventId, heartbeatMs });
  reply
    .type(`${EVENT_STREAM}; charset=utf-8`)
    // Proxies must neither collect nor compress what should arrive at once.
    .headers({ 'cache-control': 'no-cache, no-transform', 'x-accel-buffering': 'no' });
  return reply.send(Readable.from(events, { objectMode: false }));
}
