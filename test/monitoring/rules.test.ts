import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import { createMetrics } from '../../src/observability/metrics.ts';
import { promtoolForTest } from '../helpers/promtool.ts';
import { dashboard, MONITORING, metricsIn, queries } from './dashboard.ts';

const alertsText = await readFile(join(MONITORING, 'alerts.yaml'), 'utf8');
const alerts = [...alertsText.matchAll(/^ +- alert: (\w+)$/gm)].map((match) => match[1]!);

/** Names of all series that a process can export, those of histograms included. */
async function knownSeries(): Promise<Set<string>> {
  const counts = async () => ({ waiting: 0, active: 0, delayed: 0 });
  const engine = {
    state: 'ready',
    device: { name: 'cpu', provider: 'cpu' },
    restarts: 0,
    residentBytes: 0,
    peakResidentBytes: 0,
    promptCacheBytes: 0,
  };
  const text = await createMetrics(
    {
      queue: counts,
      deliveryQueue: counts,
      copyQueue: counts,
      deployQueue: counts,
      validationQueue: counts,
      held: () => 0,
      engine: () => engine,
      keys: () => ({ size: 0, damaged: false }),
      store: async () => {},
    },
    { build: { version: '1' } },
  ).render();
  const types = [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)];
  return new Set(
    types.flatMap(([, name, type]) =>
      type === 'histogram' ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name!],
    ),
  );
}

test('dashboard and alerts name metrics that exist, and nearly every metric of ours is on the dashboard', async (t) => {
  const known = await knownSeries();
  const shown = queries.flatMap(({ expression }) => metricsIn(expression));
  t.ok(shown.length > 40);
  for (const name of new Set([...shown, ...metricsIn(alertsText.replaceAll(/runbook:.*/g, ''))])) {
    t.ok(known.has(name), `${name} exists`);
  }
  const base = (name: string) => name.replace(/_(bucket|sum|count)$/, '');
  const unseen = [...known]
    .map(base)
    .filter((name) => name.startsWith('loradrop_') && !shown.map(base).includes(name));
  t.strictSame([...new Set(unseen)].toSorted(), [
    'loradrop_adapter_bytes_total',
    'loradrop_api_keys',
    'loradrop_api_keys_file_damaged',
    'loradrop_engine_peak_resident_bytes',
  ]);
});

test('the dashboard’s panels have ids of their own and do not lie on each other', async (t) => {
  const ids = dashboard.panels.map(({ id }) => id);
  t.equal(new Set(ids).size, ids.length);
  for (const [index, { gridPos: a, title }] of dashboard.panels.entries()) {
    t.ok(a.x + a.w <= 24, title);
    const under = dashboard.panels
      .slice(index + 1)
      .filter(({ gridPos: b }) => a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h);
    t.strictSame(
      under.map(({ title: other }) => other),
      [],
      title,
    );
  }
});

test('promtool takes every rule and every query, and the alerts’ own tests pass', async (t) => {
  const promtool = promtoolForTest(t);
  if (!promtool) return;
  const rules = queries.map(
    ({ expression }, index) =>
      `      - record: query_${index}\n        expr: ${JSON.stringify(expression)}\n`,
  );
  const file = join(t.testdir({}), 'queries.yaml');
  await writeFile(file, `groups:\n  - name: queries\n    rules:\n${rules.join('')}`);
  const parsed = promtool(['check', 'rules', file]);
  t.ok(parsed.ok, parsed.printed);
  t.match(parsed.printed, new RegExp(`${queries.length} rules found`));
  const config = promtool(['check', 'config', join(MONITORING, 'prometheus.yml')]);
  t.ok(config.ok, config.printed);
  t.match(config.printed, new RegExp(`${alerts.length} rules found`));
  const tested = promtool(['test', 'rules', join(MONITORING, 'alerts.test.yaml')]);
  t.ok(tested.ok, tested.printed);

  await writeFile(file, 'groups:\n  - name: bad\n    rules:\n      - record: x\n        expr: sum(rate(\n');
  t.notOk(promtool(['check', 'rules', file]).ok, 'it does look');
});

test('every alert is tested both ways and has a paragraph that says what to do', async (t) => {
  const tests = await readFile(join(MONITORING, 'alerts.test.yaml'), 'utf8');
  const page = await readFile(join(MONITORING, '..', '..', 'docs', 'operations.md'), 'utf8');
  t.ok(alerts.length >= 15);
  for (const alert of alerts) {
    const [, own = ''] = tests.split(`  - name: ${alert}\n`);
    const [block] = own.split('  - name: ');
    t.match(block, /exp_alerts: \[\]/, `${alert}: when it is silent`);
    t.match(block, /exp_alerts:\n/, `${alert}: when it fires`);
    const [, section = ''] = page.split(`\n### ${alert}\n`);
    const [paragraph = ''] = section.split('\n#');
    t.ok(paragraph.trim().length > 150, `${alert} has a paragraph`);
    t.ok(alertsText.includes(`runbook: docs/operations.md#${alert.toLowerCase()}`), `${alert} names it`);
  }
  const paragraphs = [...page.matchAll(/^### (Loradrop\w+)$/gm)].map((match) => match[1]!);
  t.strictSame(paragraphs.toSorted(), alerts.toSorted(), 'no paragraph without its alert');
});
