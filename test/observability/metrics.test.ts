import { test } from 'tap';
import { createMetrics } from '../../src/observability/metrics.ts';
import { promtoolForTest } from '../helpers/promtool.ts';

const engine = () => ({
  state: 'ready',
  device: { name: 'cpu', provider: 'cpu' },
  restarts: 2,
  residentBytes: 10,
  peakResidentBytes: 20,
  promptCacheBytes: 5,
});

test('metrics are rendered with their help, and a dead queue hides only its own gauge', async (t) => {
  let down = false;
  const metrics = createMetrics({
    queue: async () => {
      if (down) throw new Error('down');
      return { waiting: 3, active: 1, delayed: 0 };
    },
    engine,
  });
  metrics.observeRequest({ method: 'POST', route: '/generate', status: 202, seconds: 0.01 });
  const text = await metrics.render();
  t.match(text, /loradrop_queue_jobs\{state="waiting"\} 3/);
  t.match(text, /loradrop_queue_ready 1/);
  t.match(text, /loradrop_engine_state\{state="ready",device="cpu",provider="cpu"\} 1/);
  t.match(text, /loradrop_engine_state\{state="failed",device="cpu",provider="cpu"\} 0/);
  t.match(
    text,
    /loradrop_http_request_duration_seconds_count\{method="POST",route="\/generate",status="202"\} 1/,
  );
  down = true;
  const without = await metrics.render();
  t.notMatch(without, /loradrop_queue_jobs\{/);
  t.match(without, /loradrop_queue_ready 0/, 'told by the same scrape');
  t.match(without, /loradrop_engine_restarts_total 2\n/, 'read anew, not added up');
  t.match(without, /loradrop_engine_peak_resident_bytes 20/);
});

test('only so many tenants have time series of their own', async (t) => {
  const metrics = createMetrics({}, { namedTenants: 2 });
  for (const tenant of ['acme', 'globex', 'initech', 'umbrella', 'acme']) {
    metrics.jobFinished({ tenant, model: 'm', outcome: 'succeeded', code: '', ms: 100 });
    metrics.adapterPublished({ tenant, model: 'm', source: 'decoder', bytes: 10, engineMs: 1500 });
  }
  metrics.observeRequest({
    method: 'POST',
    route: '/generate',
    status: 429,
    seconds: 0,
    problem: 'rate-limit-exceeded',
    tenant: 'initech',
  });
  const text = await metrics.render();
  t.match(text, /loradrop_tenant_jobs_total\{tenant="acme",outcome="succeeded"\} 2\n/);
  t.match(text, /loradrop_tenant_jobs_total\{tenant="\(other\)",outcome="succeeded"\} 2\n/);
  t.match(text, /loradrop_tenant_engine_seconds_total\{tenant="acme"\} 3\n/);
  t.match(text, /loradrop_tenant_adapter_bytes_total\{tenant="\(other\)"\} 20\n/);
  t.match(text, /loradrop_http_problems_total\{code="rate-limit-exceeded",status="429"\} 1\n/);
  t.match(
    text,
    /loradrop_tenant_requests_refused_total\{tenant="\(other\)",code="rate-limit-exceeded"\} 1\n/,
  );
  t.notMatch(text, /initech|umbrella/);
  const none = createMetrics({}, { namedTenants: 0 });
  none.jobFinished({ tenant: 'acme', model: 'm', outcome: 'failed', code: 'internal', ms: 1 });
  t.notMatch(await none.render(), /acme/);
});

test('what is running is told by labels', async (t) => {
  const text = await createMetrics({}, { build: { version: '1.2.3', role: 'worker' } }).render();
  t.match(text, /loradrop_build_info\{version="1.2.3",role="worker"\} 1\n/);
});

test('promtool has nothing to say about our metrics', async (t) => {
  const promtool = promtoolForTest(t);
  if (!promtool) return;
  const queue = async () => ({ waiting: 0, active: 0, delayed: 0 });
  const metrics = createMetrics(
    { queue, deliveryQueue: queue, engine, keys: () => ({ size: 1, damaged: false }), store: async () => {} },
    { build: { version: '1' } },
  );
  metrics.jobStarted({ model: 'm', held: false, waitMs: 5 });
  metrics.jobFinished({ tenant: 'acme', model: 'm', outcome: 'failed', code: 'internal', ms: 1 });
  metrics.storeCalled({ operation: 'publish', outcome: 'ok', ms: 3 });
  metrics.deliveryDelaySeconds.observe(1);
  const text = await metrics.render();
  const names = [...text.matchAll(/^# TYPE (\S+)/gm)].map((match) => match[1]!);
  t.ok(names.filter((name) => name.startsWith('loradrop_')).length >= 30);
  // Those of prom-client itself are not ours to name, and it does complain of some of them.
  const about = promtool(['check', 'metrics'], text).printed.split('\n').filter(Boolean);
  t.strictSame(
    about.filter((line) => !/^(nodejs|process)_/.test(line)),
    [],
  );
  const bad = promtool(['check', 'metrics'], `${text}# TYPE loradrop_bad counter\nloradrop_bad 1\n`);
  t.match(bad.printed, /loradrop_bad/, 'it does look');
});
