/** Server-sent events of a job (WHATWG HTML §9.2): progress until a final event, resumable by event id. */
import { setTimeout as delay } from 'node:timers/promises';
import type { GenerateRecord } from '../jobs/generate-queue.ts';
import { isFinal } from '../queue/queue.ts';
import { presentProgress } from './present-job.ts';
import type { Job } from './schemas.ts';

/** What a client waits before it connects again. */
const RETRY_MS = 2000;
/** Below the idle limits of common proxies (30–60 s). */
const HEARTBEAT_MS = 15_000;

/**
 * The event id of a record: rises with every report of progress and with every change of status at the same report. It
 * depends on the record alone, so a stream can be resumed at another process.
 */
export function eventIdOf({ status, progress }: Pick<GenerateRecord, 'status' | 'progress'>): number {
  const rank = status === 'queued' ? 0 : status === 'processing' ? 1 : 2;
  return progress.sequence * 3 + rank;
}

/** `Last-Event-ID` as a number, or undefined when it is absent or not one of ours. */
export function parseLastEventId(header: string | readonly string[] | undefined): number | undefined {
  return typeof header === 'string' && /^[0-9]{1,15}$/.test(header) ? Number(header) : undefined;
}

/**
 * The text of an event stream: a `progress` event a change, then one event named after the final status, with the whole
 * job. Progress up to `lastEventId` is left out; a queued job is told again, since its position may be another. Without
 * news for `heartbeatMs` a comment is sent. Ends early, without a final event, when `signal` aborts; `records` has to end
 * with it too. Errors of `records` pass through.
 */
export async function* jobEvents(
  records: AsyncIterable<GenerateRecord>,
  options: {
    present: (record: GenerateRecord) => Job | Promise<Job>;
    signal: AbortSignal;
    lastEventId?: number | undefined;
    heartbeatMs?: number | undefined;
  },
): AsyncGenerator<string, void, void> {
  const { present, signal, lastEventId = -1, heartbeatMs = HEARTBEAT_MS } = options;
  let lastId = lastEventId;
  let lastData = '';
  yield `retry: ${RETRY_MS}\n\n`;
  for await (const record of withPauses(records, heartbeatMs, signal)) {
    if (record === undefined) {
      yield ': still here\n\n';
      continue;
    }
    const id = eventIdOf(record);
    const final = isFinal(record);
    if (record.status === 'processing' && id <= lastEventId) continue;
    const data = JSON.stringify(final ? await present(record) : presentProgress(record));
    if (data === lastData) continue;
    lastData = data;
    // A job that is tried again is queued under its last report: news, but no step back for the id.
    lastId = Math.max(lastId, id);
    yield `id: ${lastId}\nevent: ${final ? record.status : 'progress'}\ndata: ${data}\n\n`;
  }
}

/** The values of `source`, with `undefined` for every pause of `pauseMs`; ends when the signal aborts. */
async function* withPauses<T>(
  source: AsyncIterable<T>,
  pauseMs: number,
  signal: AbortSignal,
): AsyncGenerator<T | undefined, void, void> {
  const iterator = source[Symbol.asyncIterator]();
  let next = iterator.next();
  try {
    while (!signal.aborted) {
      const awake = new AbortController();
      const pause = delay(pauseMs, 'pause', { signal: AbortSignal.any([signal, awake.signal]) });
      const result = await Promise.race([next, pause.catch(() => undefined)]);
      awake.abort();
      if (result === 'pause') yield undefined;
      else if (result === undefined || typeof result === 'string' || result.done) return;
      else {
        yield result.value;
        next = iterator.next();
      }
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    // A read that is still under way when the stream ends has nobody left to tell of its failure.
    next.catch(() => undefined);
    await iterator.return?.();
  }
}
