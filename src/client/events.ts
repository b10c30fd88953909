/** A job's server-sent events, read by `fetch` so that a key can go along (`EventSource` sends none). */
import { UnreachableError } from './errors.ts';
import { type Connection, request, requestJson, wait } from './request.ts';
import type { Job, JobProgress } from './types.ts';

/** What is told of a job: progress while it runs, then the job as it ended. */
export type JobEvent =
  | { readonly type: 'progress'; readonly progress: JobProgress }
  | { readonly type: 'ended'; readonly job: Job };

/** The service sends a comment every 15 s, so a longer silence is a dead connection. */
const SILENCE_MS = 45_000;
/** Connections in a row that bring nothing before it is given up. */
const MAX_EMPTY = 5;
/** Wait before a new connection, unless the stream names one. */
const RECONNECT_MS = 2000;

type Message = { readonly id: string; readonly event: string; readonly data: string };

/**
 * The events of a job until it has ended; lost connections are taken up where they broke. Errors: those of
 * {@link request}, and {@link UnreachableError} where the stream breaks off again and again without news.
 */
export async function* jobEvents(
  connection: Connection,
  id: string,
  { signal }: { signal?: AbortSignal | undefined } = {},
): AsyncGenerator<JobEvent, void, void> {
  let lastId: string | undefined;
  for (let empty = 0; empty < MAX_EMPTY; empty++) {
    const silence = new AbortController();
    const stop = signal ? AbortSignal.any([signal, silence.signal]) : silence.signal;
    const response = await request(connection, `/jobs/${encodeURIComponent(id)}/events`, {
      headers: { accept: 'text/event-stream', ...(lastId !== undefined && { 'last-event-id': lastId }) },
      signal: stop,
    });
    if (response.status === 204) {
      const job = await requestJson<Job>(connection, `/jobs/${encodeURIComponent(id)}`, { signal });
      yield { type: 'ended', job };
      return;
    }
    try {
      for await (const message of readMessages(response.body!, () => silence.abort())) {
        empty = -1;
        lastId = message.id;
        const data: unknown = JSON.parse(message.data);
        if (message.event !== 'progress') {
          yield { type: 'ended', job: data as Job };
          return;
        }
        yield { type: 'progress', progress: data as JobProgress };
      }
    } catch {
      signal?.throwIfAborted();
    } finally {
      silence.abort();
    }
    await wait(RECONNECT_MS, signal);
  }
  throw new UnreachableError(`The events of job ${id} break off again and again.`);
}

/** Messages of an event stream (WHATWG HTML §9.2.6). `onSilence` is called where nothing comes for too long. */
export async function* readMessages(
  body: ReadableStream<Uint8Array>,
  onSilence: () => void,
): AsyncGenerator<Message, void, void> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let text = '';
  let message = { id: '', event: 'message', data: '' };
  try {
    for (;;) {
      const timer = setTimeout(onSilence, SILENCE_MS);
      const { done, value } = await reader.read().finally(() => clearTimeout(timer));
      if (done) return;
      text += decoder.decode(value, { stream: true });
      const lines = text.split(/\r\n|\n|\r(?!$)/);
      text = lines.pop()!;
      for (const line of lines) {
        if (line === '') {
          if (message.data !== '') yield { ...message, data: message.data.slice(0, -1) };
          message = { ...message, event: 'message', data: '' };
          continue;
        }
        const [, field, content = ''] = /^([^:]+)(?:: ?(.*))?$/.exec(line) ?? [];
        if (field === 'data') message = { ...message, data: `${message.data}${content}\n` };
        else if (field === 'event') message = { ...message, event: content };
        else if (field === 'id') message = { ...message, id: content };
      }
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}
