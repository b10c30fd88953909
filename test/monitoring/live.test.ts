import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import type { Job } from '../../src/http/schemas.ts';
import { startLoradrop, until } from '../helpers/loradrop-process.ts';
import { startPrometheus } from '../helpers/prometheus.ts';
import { buildUntrainedBundle } from '../helpers/untrained-bundle.ts';
import { MONITORING, metricsIn, queries } from './dashboard.ts';

/** Queries that have something to show only when something failed, was refused or was told by webhook. */
const QUIET =
  /outcome="failed"|outcome!="ok"|runs_repeated|requests_refused|webhook_(attempt|delay)_seconds|destination_copies|deployment_(changes|replicas)/;

test('a real Prometheus scrapes a service and answers every query of the dashboard and the alerts', async (t) => {
  const root = t.testdir({});
  await buildUntrainedBundle({ out: join(root, 'bundles', 'untrained'), seed: 0 });
  const { url } = await startLoradrop(t, 'start', { DATA_DIR: root });
  const prometheus = await startPrometheus(t, new URL(url).host);
  if (!prometheus) return;
  const generate = async (seed: number) => {
    const response = await fetch(`${url}/generate`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', prefer: 'wait=60' },
      body: JSON.stringify({ prompts: Array.from({ length: 20 }, (_, index) => `Count to ${index}.`), seed }),
    });
    return (await response.json()) as Job;
  };
  const shows = async (expression: string) => (await prometheus.query(expression)).series > 0;
  t.equal((await generate(1)).status, 'succeeded');
  await until(() => shows('loradrop_jobs_finished_total{outcome="succeeded"} > 0'));
  // Rates need two scrapes that differ; the first of these jobs is copied from the store.
  for (const seed of [1, 2]) t.equal((await generate(seed)).status, 'succeeded');
  await until(() => shows('rate(loradrop_jobs_finished_total{outcome="succeeded"}[1m]) > 0'));
  await until(() => shows('rate(loradrop_adapters_total{source="decoder"}[1m]) > 0'));
  // A series that was first seen at 1 has a rate from its second scrape on, and it is 0.
  await until(() => shows('rate(loradrop_adapters_total{source="store"}[1m])'));

  for (const { title, expression } of queries) {
    const { error, warnings, series } = await prometheus.query(expression);
    t.strictSame({ error, warnings }, { error: undefined, warnings: [] }, `${title}: ${expression}`);
    if (!QUIET.test(expression)) t.ok(series > 0, `${title} shows something`);
  }
  const alerts = await readFile(join(MONITORING, 'alerts.yaml'), 'utf8');
  const expressions = [...alerts.matchAll(/expr: (?:>-\n)?((?:.+\n)(?: {10}\S.*\n)*)/g)].map(([, text]) =>
    text!.split(/\n {8}\w+:/)[0]!.trim(),
  );
  t.equal(expressions.length, alerts.split('- alert:').length - 1);
  for (const expression of expressions) {
    const { error, warnings, series } = await prometheus.query(expression);
    t.strictSame({ error, warnings }, { error: undefined, warnings: [] }, expression);
    t.equal(series, 0, 'nothing is wrong with the service');
    t.ok(metricsIn(expression).length > 0 || expression.startsWith('up{'), 'it is an expression');
  }
});
