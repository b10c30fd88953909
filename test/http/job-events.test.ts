import { test } from 'tap';
import { eventIdOf, jobEvents, parseLastEventId } from '../../src/http/job-events.ts';
import type { Job } from '../../src/http/schemas.ts';
import type { GenerateRecord } from '../../src/jobs/generate-queue.ts';

/** A record as the events see it. */
function record(
  status: GenerateRecord['status'],
  sequence: number,
  more: { position?: number; fraction?: number } = {},
): GenerateRecord {
  const { position, fraction = 0 } = more;
  return {
    tenant: 'default',
    id: 'j',
    status,
    payload: {} as GenerateRecord['payload'],
    attempts: 1,
    progress: { sequence, stage: 'decoding', fraction, adapter: 0 },
    ...(position !== undefined && { position }),
  };
}
const present = ({ status }: GenerateRecord) => ({ status }) as Job;

async function eventsOf(records: AsyncIterable<GenerateRecord>, lastEventId?: number) {
  const found: { id: number; event: string; status: string; position?: number }[] = [];
  const { signal } = new AbortController();
  for await (const text of jobEvents(records, { present, signal, lastEventId })) {
    const match = /^id: (\d+)\nevent: (\w+)\ndata: (.*)\n\n$/.exec(text);
    if (match) found.push({ ...JSON.parse(match[3]!), id: Number(match[1]), event: match[2]! });
  }
  return found;
}
async function* from(...records: GenerateRecord[]) {
  yield* records;
}

test('ids rise with reports and statuses, and never fall when a job is tried again', async (t) => {
  const events = await eventsOf(
    from(
      record('queued', 0, { position: 1 }),
      record('queued', 0, { position: 0 }),
      record('processing', 0),
      record('processing', 4, { fraction: 0.5 }),
      record('queued', 4, { position: 0 }),
      record('processing', 4),
      record('processing', 5),
      record('succeeded', 6),
    ),
  );
  t.strictSame(
    events.map(({ event, status }) => [event, status]),
    [
      ['progress', 'queued'],
      ['progress', 'queued'],
      ['progress', 'processing'],
      ['progress', 'processing'],
      ['progress', 'queued'],
      ['progress', 'processing'],
      // A report that changes nothing a client sees is no event.
      ['succeeded', 'succeeded'],
    ],
  );
  t.strictSame(
    events.map(({ id }) => id),
    [0, 0, 1, 13, 13, 13, 20],
  );
});

test('a resumed stream leaves out what was seen, and always has the end', async (t) => {
  const records = () => from(record('processing', 3), record('processing', 4), record('failed', 5));
  const seen = eventIdOf(record('processing', 3));
  t.strictSame(
    (await eventsOf(records(), seen)).map(({ event }) => event),
    ['progress', 'failed'],
  );
  t.strictSame(
    (await eventsOf(records(), eventIdOf(record('processing', 4)))).map(({ event }) => event),
    ['failed'],
  );
  const waiting = await eventsOf(from(record('queued', 3, { position: 7 }), record('canceled', 4)), seen);
  t.match(waiting, [{ event: 'progress', position: 7 }, { event: 'canceled' }], 'a position may be news');
  t.ok(waiting.every(({ id }) => id >= seen));
});

test('an aborted stream ends at once and lets go of its records', async (t) => {
  const stop = new AbortController();
  let released = false;
  async function* endless() {
    try {
      yield record('processing', 1);
      await new Promise<never>((_, reject) => {
        stop.signal.addEventListener('abort', () => reject(stop.signal.reason), { once: true });
      });
    } finally {
      released = true;
    }
  }
  const texts: string[] = [];
  for await (const text of jobEvents(endless(), { present, signal: stop.signal, heartbeatMs: 20 })) {
    texts.push(text);
    if (text.startsWith(':')) stop.abort();
  }
  t.match(texts, [/^retry: /, /event: progress/, /^: /]);
  t.ok(released);
});

test('a failure to follow is not swallowed', async (t) => {
  async function* failing() {
    yield record('queued', 0);
    throw new Error('the queue is gone');
  }
  await t.rejects(eventsOf(failing()), { message: 'the queue is gone' });
});

test('Last-Event-ID', async (t) => {
  t.equal(parseLastEventId('12'), 12);
  for (const header of [undefined, '', 'a', '-1', '1.5', '9'.repeat(40), ['1', '2']]) {
    t.equal(parseLastEventId(header), undefined, String(header));
  }
});
