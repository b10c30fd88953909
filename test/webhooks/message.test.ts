import { test } from 'tap';
import { MAX_BODY_BYTES, writeMessage } from '../../src/webhooks/message.ts';

const job = (changes: object = {}) => ({
  id: 'job_1',
  status: 'succeeded',
  adapters: [{ id: 'a', url: '/adapters/a', promptDigests: ['d'.repeat(64)] }],
  warnings: [],
  ...changes,
});
const dataOf = (text: string) => (JSON.parse(text) as { data: Record<string, unknown> }).data;

test('a small job is sent as it is shown', (t) => {
  const text = writeMessage({ type: 'job.succeeded', at: 0, data: job() });
  t.strictSame(JSON.parse(text), {
    type: 'job.succeeded',
    timestamp: '1970-01-01T00:00:00.000Z',
    data: job(),
  });
  t.end();
});

test('whatever a job holds, its message stays below 20 kB and says what is missing', (t) => {
  const adapter = (n: number, digests: number) => ({
    id: `a-${n}`,
    url: `/adapters/a-${n}`,
    promptDigests: Array.from({ length: digests }, () => 'd'.repeat(64)),
    bytes: 1,
    sha256: 'e'.repeat(64),
  });
  const metadata = Object.fromEntries(Array.from({ length: 16 }, (_, n) => [`${n}`, '☃'.repeat(512)]));
  const cases = [
    [job({ adapters: [adapter(0, 500)] }), ['adapters.promptDigests']],
    [
      job({ adapters: Array.from({ length: 1000 }, (_, n) => adapter(n, 1)) }),
      ['adapters.promptDigests', 'adapters'],
    ],
    [job({ metadata }), ['adapters.promptDigests', 'metadata']],
    [job({ warnings: ['w'.repeat(30_000)] }), ['adapters.promptDigests', 'warnings']],
    [
      job({
        error: { code: 'x', errors: Array.from({ length: 20 }, () => ({ message: 'm'.repeat(2000) })) },
      }),
      ['adapters.promptDigests', 'error.errors'],
    ],
  ] as const;
  for (const [data, trimmed] of cases) {
    const text = writeMessage({ type: 'job.succeeded', at: 0, data });
    t.ok(Buffer.byteLength(text) < MAX_BODY_BYTES);
    t.strictSame(dataOf(text)['trimmed'], trimmed);
    t.match(dataOf(text), { id: 'job_1', status: 'succeeded' });
  }
  t.end();
});
