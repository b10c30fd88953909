import { test } from 'tap';
import { buildProbeApp } from '../../src/http/app.ts';
import type { Problem } from '../../src/http/problem.ts';
import { createLogger } from '../../src/observability/logger.ts';
import { createMetrics } from '../../src/observability/metrics.ts';

test('a worker serves probes, metrics and nothing else', async (t) => {
  const draining = new AbortController();
  const app = await buildProbeApp({
    readiness: async () => ({
      ready: true,
      parts: { engine: { ready: true } },
      device: { name: 'cpu', provider: 'cpu', threads: 2 },
    }),
    metrics: createMetrics(),
    logger: createLogger({ level: 'silent' }),
    draining: draining.signal,
  });
  t.teardown(() => app.close());
  t.strictSame((await app.inject('/livez')).json(), { status: 'alive' });
  t.match((await app.inject('/readyz')).json(), {
    ready: true,
    device: { name: 'cpu', provider: 'cpu', threads: 2 },
  });
  t.match(
    (
      await app.inject({
        url: '/metrics',
        headers: { accept: 'application/openmetrics-text, text/plain;q=0.5' },
      })
    ).body,
    /loradrop_http_request_duration_seconds_count\{method="GET",route="\/readyz",status="200"\} 1/,
  );
  t.match((await app.inject('/problems/queue-full')).json(), { status: 429 });
  t.equal((await app.inject('/generate')).json<Problem>().code, 'route-not-found');
  t.equal((await app.inject({ method: 'POST', url: '/livez' })).headers.allow, 'GET, HEAD');
  draining.abort();
  t.match((await app.inject('/readyz')).json(), { code: 'not-ready', draining: true });
});
