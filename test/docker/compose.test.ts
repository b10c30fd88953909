import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { type Test, test } from 'tap';
import { parseDocument } from 'yaml';
import { loadConfig } from '../../src/config/load.ts';
import { ConfigSchema, environmentName } from '../../src/config/schema.ts';
import { COMPOSE_LOADER, haveTools, type Loose } from '../helpers/kubernetes.ts';
import { findProgram, requireProgram } from '../helpers/services.ts';

const docker = resolve(import.meta.dirname, '..', '..', 'docker');
/** Beside `DRAIN_SECONDS`: what does not end by itself is let go, and the queue gets its answers. */
const DRAIN_MARGIN_S = 20;

/** The model that `docker compose` makes of the files; fails where it would. */
function load(...files: string[]): Record<string, Loose> {
  const { status, stdout, stderr } = spawnSync(
    requireProgram(COMPOSE_LOADER),
    ['--format', 'json', ...files],
    {
      cwd: docker,
      encoding: 'utf8',
    },
  );
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout).services;
}

const haveLoader = (t: Test) => haveTools(t, findProgram(COMPOSE_LOADER) ? undefined : COMPOSE_LOADER);
const seconds = (duration: string) => {
  const [, minutes = '0', rest = '0'] = /^(?:(\d+)m)?(?:(\d+)s)?$/.exec(duration) ?? [];
  return Number(minutes) * 60 + Number(rest);
};

test('the compose files are what compose takes, and fit the program', async (t) => {
  if (!haveLoader(t)) return;
  const names = new Set(Object.keys(ConfigSchema.properties).map(environmentName));
  const targets = [
    ...(await readFile(join(docker, '..', 'Dockerfile'), 'utf8')).matchAll(/ AS (\w+)$/gm),
  ].map(([, name]) => name);
  for (const files of [['compose.yaml'], ['compose.yaml', 'compose.cuda.yaml']]) {
    const services = load(...files);
    t.ok(
      ['redis', 's3', 'api', 'worker'].every((name) => name in services),
      files.join(),
    );
    for (const [name, service] of Object.entries(services)) {
      t.match(service.image, /^[\w./-]+:v?[\w.-]+$/, `${name}: an image with a version`);
      for (const { type, source } of service.volumes ?? []) {
        if (type === 'bind') t.ok(existsSync(source), `${name} mounts ${source}`);
      }
      if (!service.build) continue;
      const [, target] = /^loradrop:(\w+)$/.exec(service.image) ?? [];
      t.equal(service.build.target, target, `${name}: the image is the one that is built`);
      t.ok(targets.includes(target));
      t.match(service, { read_only: true, cap_drop: ['ALL'], security_opt: ['no-new-privileges:true'] });
      t.ok(['serve', 'worker'].includes(service.command[0]));
      for (const variable of Object.keys(service.environment)) {
        t.ok(names.has(variable) || /^(AWS|OTEL)_/.test(variable), `${name}: ${variable} is a setting`);
      }
      const { drainSeconds, queueUrl, storeUrl } = loadConfig({}, service.environment);
      t.ok(new URL(queueUrl!).hostname in services && storeUrl?.startsWith('s3://'));
      t.ok(new URL(service.environment.AWS_ENDPOINT_URL_S3).hostname in services);
      if (service.command[0] === 'worker') {
        t.ok(
          seconds(service.stop_grace_period) >= drainSeconds + DRAIN_MARGIN_S,
          `${name} has time to drain`,
        );
      }
    }
    const { s3, api, worker, prometheus, grafana } = services;
    for (const { ports, profiles } of [prometheus, grafana]) {
      t.strictSame(profiles, ['monitoring']);
      t.equal(ports[0].host_ip, '127.0.0.1', 'nobody else sees it');
    }
    t.equal(s3.environment.ROOT_ACCESS_KEY, api.environment.AWS_ACCESS_KEY_ID);
    t.equal(s3.environment.ROOT_SECRET_KEY, worker.environment.AWS_SECRET_ACCESS_KEY);
    const port = new URL(api.environment.AWS_ENDPOINT_URL_S3).port;
    t.match(s3.entrypoint.join(' '), new RegExp(`--port :${port} `));
    t.equal(api.ports[0].host_ip, '127.0.0.1', 'without keys it is for this machine alone');
  }
  const scraped = parseDocument(await readFile(join(docker, 'monitoring', 'prometheus.yml'), 'utf8')).toJS();
  const hosts = scraped.scrape_configs.flatMap(({ dns_sd_configs }: Loose) =>
    dns_sd_configs.flatMap((each: Loose) => each.names),
  );
  t.ok(
    ['api', 'worker'].every((name) => hosts.includes(name)),
    'Prometheus asks for the services by their names',
  );
  t.throws(() => load('compose.yaml', '../package.json'), 'what is no compose file is refused');
});
