/** Sending a job's events. */
import { Readable } from 'node:stream';
import type { FastifyReply } from 'fastify';
import type { TenantGenerateQueue } from '../jobs/generate-queue.ts';
import { connectionSignal } from './await-job.ts';
import { jobEvents } from './job-events.ts';
import type { HttpServices } from './services.ts';
import type { ShowJob } from './show-job.ts';

/** Where events come from: the caller’s own jobs. */
type EventSources = Pick<HttpServices, 'heartbeatMs'> & {
  readonly show: ShowJob;
  readonly queue: Pick<TenantGenerateQueue, 'watch'>;
};

/** Media type of server-sent events. */
export const EVENT_STREAM = 'text/event-stream';

/**
 * Answers with the job's event stream until its final event, the client's leaving, or `closing`. The client's pace holds
 * the stream back; states it misses meanwhile are skipped, the final one never.
 */
export function sendEvents(
  { queue, show, heartbeatMs }: EventSources,
  reply: FastifyReply,
  { id, lastEventId, closing }: { id: string; lastEventId?: number | undefined; closing: AbortSignal },
): FastifyReply {
  const signal = connectionSignal(reply, closing);
  const events = jobEvents(queue.watch(id, { signal }), { present: show, signal, lastEventId, heartbeatMs });
  return sendStream(reply, events);
}

/**
 * Longest time without a byte on its way to the client: it has stopped reading, or there was nothing to send, which the
 * comments between a job's events (`heartbeatMs`) and the pace of answers rule out.
 */
const STALLED_MS = 60_000;

/**
 * Answers with the text of an event stream, each piece as it comes. A connection on which nothing has moved for `stalledMs`
 * is closed, and the source ended: a client that does not read would hold both for good.
 */
export function sendStream(
  reply: FastifyReply,
  events: AsyncIterable<string>,
  { stalledMs = STALLED_MS }: { stalledMs?: number } = {},
): FastifyReply {
  const { raw } = reply;
  // Node asks the system whether bytes of a pending write have moved.
  raw.setTimeout(stalledMs, () => raw.destroy());
  reply
    .type(`${EVENT_STREAM}; charset=utf-8`)
    // Proxies must neither collect nor compress what should arrive at once.
    .headers({ 'cache-control': 'no-cache, no-transform', 'x-accel-buffering': 'no' });
  return reply.send(Readable.from(events, { objectMode: false }));
}
