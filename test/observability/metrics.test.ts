import { test } from 'tap';
import { createMetrics } from '../../src/observability/metrics.ts';

test('metrics are rendered with their help, and a dead queue hides only its own gauge', async (t) => {
  let down = false;
  const metrics = createMetrics({
    queue: async () => {
      if (down) throw new Error('down');
      return { waiting: 3, active: 1, delayed: 0 };
    },
    engine: () => ({
      state: 'ready',
      device: { name: 'cpu', provider: 'cpu' },
      restarts: 2,
      residentBytes: 10,
      peakResidentBytes: 20,
      promptCacheBytes: 5,
    }),
  });
  metrics.observeRequest({ method: 'POST', route: '/generate', status: 202, seconds: 0.01 });
  const text = await metrics.render();
  t.match(text, /loradrop_queue_jobs\{state="waiting"\} 3/);
  t.match(text, /loradrop_engine_state\{state="ready",device="cpu",provider="cpu"\} 1/);
  t.match(text, /loradrop_engine_state\{state="failed",device="cpu",provider="cpu"\} 0/);
  t.match(
    text,
    /loradrop_http_request_duration_seconds_count\{method="POST",route="\/generate",status="202"\} 1/,
  );
  down = true;
  const without = await metrics.render();
  t.notMatch(without, /loradrop_queue_jobs\{/);
  t.match(without, /loradrop_engine_restarts 2/);
  t.match(without, /loradrop_engine_peak_resident_bytes 20/);
});

test('every metric of ours carries the prefix and a unit or a plain count in its name', async (t) => {
  const text = await createMetrics({ queue: async () => ({ waiting: 0, active: 0, delayed: 0 }) }).render();
  const names = [...text.matchAll(/^# TYPE (loradrop_\S+) (\S+)$/gm)].map((match) => ({
    name: match[1]!,
    type: match[2]!,
  }));
  t.ok(names.length >= 6);
  for (const { name, type } of names) {
    if (type === 'counter') t.match(name, /_total$/, name);
    if (type === 'histogram') t.match(name, /_seconds$/, name);
  }
});
