/** What do traces cost where no collector is set, and where one is? */
import { execFileSync, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createAuthenticate } from '../src/access/authenticate.ts';
import { buildProbeApp } from '../src/http/app.ts';
import { createLogger } from '../src/observability/logger.ts';
import { createMetrics } from '../src/observability/metrics.ts';
import { openTracing } from '../src/observability/open-tracing.ts';
import type { Tracing } from '../src/observability/tracing.ts';
import { type Benchmark, median, spread } from './report.ts';

const ROUNDS = 7;
const REQUESTS = 2000;
const SOURCES = join(import.meta.dirname, '..', 'src');

export const traces: Benchmark = {
  question: `Loading the service in a process of its own ${ROUNDS} times, and ${ROUNDS} × ${REQUESTS} requests to GET /problems/{code}, without and with OTEL_EXPORTER_OTLP_ENDPOINT in turn; processor time, medians and extremes`,
  columns: ['what', 'without', 'with', 'more'],
  async run() {
    const collector = fork(join(import.meta.dirname, 'null-collector.ts'));
    const [port] = (await once(collector, 'message')) as [number];
    try {
      return [...loading(), await requests(`http://127.0.0.1:${port}/v1/traces`)];
    } finally {
      collector.kill();
    }
  },
};

type Loaded = { readonly cpuMs: number; readonly megabytes: number; readonly files: number };

/** Loads everything that a service is made of, and the SDK as `startService` does where a collector is set. */
function load(withSdk: boolean): Loaded {
  const sdk = withSdk ? `await import('${SOURCES}/observability/open-tracing.ts');` : '';
  const program = `import { registerHooks } from 'node:module';
    let files = 0;
    registerHooks({ load: (url, context, next) => { if (/@opentelemetry\\/(?!api\\/)/.test(url)) files++; return next(url, context); } });
    await import('${SOURCES}/compose.ts'); ${sdk}
    globalThis.gc();
    const { user, system } = process.cpuUsage();
    console.log(JSON.stringify({ cpuMs: (user + system) / 1000, megabytes: process.memoryUsage().rss / 2 ** 20, files }));`;
  const printed = execFileSync(process.execPath, ['--expose-gc', '--input-type=module', '--eval', program], {
    encoding: 'utf8',
  });
  return JSON.parse(printed) as Loaded;
}

function loading(): string[][] {
  const [without, withSdk]: Loaded[][] = [[], []];
  for (let round = 0; round < ROUNDS; round++) {
    without!.push(load(false));
    withSdk!.push(load(true));
  }
  const row = (what: string, unit: string, value: (loaded: Loaded) => number) => {
    const [off, on] = [without!.map(value), withSdk!.map(value)];
    return [
      what,
      spread(off, unit, 0),
      spread(on, unit, 0),
      `${(median(on) - median(off)).toFixed(0)} ${unit}`,
    ];
  };
  return [
    row('loading, processor time', 'ms', ({ cpuMs }) => cpuMs),
    row('loading, resident', 'MiB', ({ megabytes }) => megabytes),
    // prom-client loads the API package in any case.
    row('files of the SDK that are loaded', '', ({ files }) => files),
  ];
}

/** An application that answers one address, traced or not. */
function openApp(tracing: Tracing | undefined) {
  return buildProbeApp({
    readiness: async () => ({ ready: true, parts: {} }),
    metrics: createMetrics(),
    authenticate: createAuthenticate({ limits: {} }),
    logger: createLogger({ level: 'silent' }),
    tracing,
  });
}

async function requests(url: string): Promise<string[]> {
  const tracing = openTracing({
    url,
    serviceName: 'bench',
    version: '0',
    resource: {},
    sampler: 'parentbased_always_on',
    samplerRatio: 1,
    logger: createLogger({ level: 'warn' }),
  });
  const apps = { without: await openApp(undefined), with: await openApp(tracing) };
  const costs: Record<keyof typeof apps, number[]> = { without: [], with: [] };
  for (let round = 0; round <= ROUNDS; round++) {
    for (const way of ['without', 'with'] as const) {
      const before = process.cpuUsage();
      for (let n = 0; n < REQUESTS; n++) await apps[way].inject('/problems/internal');
      const { user, system } = process.cpuUsage(before);
      // The first round warms the compiler up.
      if (round > 0) costs[way].push((user + system) / REQUESTS);
    }
  }
  await Promise.all(Object.values(apps).map((app) => app.close()));
  await tracing.close();
  const more = median(costs.with) - median(costs.without);
  return [
    'one request',
    spread(costs.without, 'µs', 0),
    spread(costs.with, 'µs', 0),
    `${more.toFixed(0)} µs`,
  ];
}
