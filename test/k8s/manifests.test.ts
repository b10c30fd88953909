import { mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { test } from 'tap';
import { loadConfig } from '../../src/config/load.ts';
import { ConfigSchema, environmentName } from '../../src/config/schema.ts';
import { PROBE_ROUTES } from '../../src/http/routes/probes.ts';
import { createMetrics } from '../../src/observability/metrics.ts';
import { NOT_PUBLIC_V4, NOT_PUBLIC_V6, PUBLIC_V6 } from '../../src/webhooks/networks.ts';
import {
  haveTools,
  type Loose,
  type Manifest,
  parseManifests,
  RELEASES,
  render,
  validate,
} from '../helpers/kubernetes.ts';

const root = resolve(import.meta.dirname, '..', '..');
const k8s = join(root, 'k8s');
const read = (path: string) => readFile(join(root, path), 'utf8');

/** Variables that others than the service read. */
const FOREIGN = /^(AWS_[A-Z0-9_]+|CUDA_CACHE_PATH|OTEL_[A-Z0-9_]+)$/;
/** Beside `DRAIN_SECONDS`: what does not end by itself is let go, and the queue gets its answers. */
const DRAIN_MARGIN_S = 20;

const settings = new Map(
  Object.entries(ConfigSchema.properties).map(([name, schema]) => [environmentName(name), schema as object]),
);
const isSecret = (variable: string) => 'secret' in (settings.get(variable) ?? {});

/** Renders a kustomization that lies beside `k8s`, as somebody who keeps one of their own would have it. */
async function renderOwn(text: string): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'loradrop-kustomize-'));
  try {
    // kustomize takes no file from outside of a directory, and bases from anywhere.
    await symlink(k8s, join(directory, 'k8s'));
    await writeFile(join(directory, 'kustomization.yaml'), text);
    return render(directory);
  } finally {
    await rm(directory, { recursive: true });
  }
}

const own = (overlay: string, components: readonly string[]) => `
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: loradrop
resources: [k8s/overlays/${overlay}]
components: [${components.map((name) => `k8s/components/${name}`).join(', ')}]
`;

/** Every overlay alone and with components: each by itself, and all that go together. */
async function renderAll(): Promise<Record<string, string>> {
  const overlays = await readdir(join(k8s, 'overlays'));
  const components = await readdir(join(k8s, 'components'));
  const sets: Record<string, string> = {};
  for (const overlay of overlays) {
    sets[overlay] = render(join(k8s, 'overlays', overlay));
    // The single node has a Redis already, and a volume for bundles.
    const fitting = components.filter(
      (name) => overlay !== 'single-node' || !['redis-dev', 'bundle-cache'].includes(name),
    );
    for (const with_ of [...fitting.map((name) => [name]), fitting]) {
      sets[`${overlay} + ${with_.join(' + ')}`] = await renderOwn(own(overlay, with_));
    }
  }
  const page = await read('docs/kubernetes.md');
  for (const [index, [, text = '']] of [
    ...page.matchAll(/^```yaml\n(# kustomization\.yaml\n[\s\S]*?)^```$/gm),
  ].entries()) {
    sets[`docs/kubernetes.md ${index + 1}`] = await renderOwn(text);
  }
  return sets;
}

let rendered: Promise<Record<string, string>> | undefined;
const sets = () => (rendered ??= renderAll());
const parsed = async (): Promise<[string, Manifest[]][]> =>
  Object.entries(await sets()).map(([name, text]) => [name, parseManifests(text)]);

const ofKind = (manifests: readonly Manifest[], kind: string) =>
  manifests.filter((each) => each.kind === kind);
const workloads = (manifests: readonly Manifest[]) =>
  manifests.filter(({ kind }) => kind === 'Deployment' || kind === 'StatefulSet');
const ours = (manifests: readonly Manifest[]) => ofKind(manifests, 'Deployment');
const named = (manifests: readonly Manifest[], kind: string, name: string) =>
  ofKind(manifests, kind).find(({ metadata }) => metadata.name === name);

/** The variables that a container gets from manifests, and those it refers to that are made by hand. */
function environmentOf(container: Loose, manifests: readonly Manifest[]) {
  const environment: Record<string, string> = {};
  const byHand: string[] = [];
  for (const { configMapRef, secretRef } of container.envFrom ?? []) {
    if (configMapRef) Object.assign(environment, named(manifests, 'ConfigMap', configMapRef.name)?.['data']);
    const secret = secretRef && named(manifests, 'Secret', secretRef.name);
    if (secretRef && !secret) byHand.push(secretRef.name);
    for (const [name, value] of Object.entries(secret?.['data'] ?? {})) {
      environment[name] = Buffer.from(value as string, 'base64').toString();
    }
  }
  for (const { name, value } of container.env ?? []) environment[name] = value;
  return { environment, byHand };
}

test('every overlay, with and without components, fits the schemas of all supported releases', {
  timeout: 240_000,
}, async (t) => {
  if (!haveTools(t)) return;
  const all = await sets();
  const { checked, problems } = validate(all);
  t.strictSame(problems, []);
  t.comment(
    `${Object.keys(all).length} renderings, ${checked} different manifests × releases ${RELEASES.join(', ')}`,
  );
  t.ok(Object.keys(all).length >= 24 && checked > 50);

  const broken = (all['cpu'] ?? '')
    .replace('replicas: 2', 'replicas: "two"')
    .replace('maxSurge: 1', 'maxSurgery: 1');
  const keda = (all['cpu + keda'] ?? '').replace('maxReplicaCount: 20', 'maxReplicasCount: 20');
  const found = validate({ broken, keda }).problems.join('\n');
  t.match(
    found,
    /broken: Deployment loradrop-worker \(1\.35\): .*'two'/,
    'a check that cannot fail checks nothing',
  );
  t.match(found, /broken: Deployment loradrop-api \(1\.37\): .*maxSurgery/);
  t.match(found, /keda: ScaledObject .*maxReplicasCount/);
});

test('variables are settings, with values that the program takes, and secrets lie in Secrets', async (t) => {
  if (!haveTools(t)) return;
  for (const [name, manifests] of await parsed()) {
    for (const { data = {} } of ofKind(manifests, 'ConfigMap').filter(({ metadata }) =>
      metadata.name.startsWith('loradrop-settings'),
    )) {
      for (const variable of Object.keys(data)) {
        t.notOk(isSecret(variable), `${name}: ${variable} is no secret`);
      }
    }
    for (const { spec, metadata } of ours(manifests)) {
      const { containers, initContainers } = spec.template.spec;
      for (const container of [...containers, ...initContainers]) {
        const { environment, byHand } = environmentOf(container, manifests);
        for (const variable of Object.keys(environment)) {
          t.ok(
            settings.has(variable) || FOREIGN.test(variable),
            `${name}: ${metadata.name} reads ${variable}`,
          );
        }
        t.doesNotThrow(() => loadConfig({}, environment), `${name}: ${metadata.name} ${container.name}`);
        t.ok(byHand.every((secret) => secret === 'loradrop-secrets'));
        if (!byHand.length) t.ok(environment['QUEUE_URL'], `${name}: there is a queue`);
      }
    }
  }
  const example = (await read('k8s/base/secrets.example.env')).matchAll(/^([A-Z0-9_]+)=/gm);
  t.strictSame(
    [...example]
      .map(([, variable]) => variable)
      .filter((variable) => !FOREIGN.test(variable!))
      .toSorted(),
    [...settings.keys()].filter(isSecret).toSorted(),
    'the example has every secret setting',
  );
});

/** What a container of ours may be told to do, and how its process is probed. */
const COMMANDS: Record<string, readonly string[]> = {
  api: ['serve'],
  worker: ['worker'],
};

test('commands, ports and probes are those of the program', async (t) => {
  if (!haveTools(t)) return;
  t.ok(['/livez', '/readyz', '/metrics'].every((path) => PROBE_ROUTES.has(path)));
  const program = await read('src/cli/program.ts');
  const modelCommands = await read('src/cli/models.ts');
  for (const [name, manifests] of await parsed()) {
    for (const { spec, metadata } of ours(manifests)) {
      const pod = spec.template.spec;
      const role = spec.selector.matchLabels['app.kubernetes.io/component'] as string;
      const [container, ...others] = pod.containers;
      t.strictSame([container.args, others], [COMMANDS[role], []], `${name}: ${metadata.name}`);
      t.match(program, new RegExp(`^  ${container.args[0]}: \\{`, 'm'));
      const [pull] = pod.initContainers;
      t.strictSame(pull.args, role === 'api' ? ['models', 'pull', '--manifests'] : ['models', 'pull']);
      t.match(modelCommands, /\.command\('pull'\)[\s\S]*\.option\('--manifests'/);

      const { port } = loadConfig({}, environmentOf(container, manifests).environment);
      t.strictSame(container.ports, [{ name: 'http', containerPort: port }]);
      const probe = (path: string) => ({ httpGet: { path, port: 'http' } });
      t.match(container, {
        startupProbe: probe('/livez'),
        livenessProbe: probe('/livez'),
        readinessProbe: probe('/readyz'),
      });
      for (const { name: mount } of [...container.volumeMounts, ...pull.volumeMounts]) {
        t.ok(
          pod.volumes.some((volume: { name: string }) => volume.name === mount),
          `${mount} is a volume`,
        );
      }
    }
  }
});

test('a worker that ends has time for its jobs', async (t) => {
  if (!haveTools(t)) return;
  for (const [name, manifests] of await parsed()) {
    const { spec } = named(manifests, 'Deployment', 'loradrop-worker')!;
    const pod = spec.template.spec;
    const { drainSeconds } = loadConfig({}, environmentOf(pod.containers[0], manifests).environment);
    t.ok(drainSeconds >= 300, `${name}: longer than the longest job`);
    t.ok(pod.terminationGracePeriodSeconds >= drainSeconds + DRAIN_MARGIN_S, name);
  }
});

test('the images are those that are built, and compose and Kubernetes take the same Redis', async (t) => {
  if (!haveTools(t)) return;
  const targets = [...(await read('Dockerfile')).matchAll(/^FROM \S+ AS (\w+)$/gm)].map(
    ([, target]) => target,
  );
  const compose = await read('docker/compose.yaml');
  for (const [name, manifests] of await parsed()) {
    for (const { spec, metadata } of workloads(manifests)) {
      const { containers, initContainers = [] } = spec.template.spec;
      for (const { image } of [...initContainers, ...containers]) {
        if (metadata.name === 'redis') t.match(compose, `image: ${image}\n`);
        else {
          const [, target] = /(?:^|\/)loradrop:(\w+)$/.exec(image) ?? [];
          t.ok(target && targets.includes(target), `${name}: ${image}`);
        }
      }
    }
  }
});

test('pods are restricted: no root, no capability, no token, nothing writable but volumes', async (t) => {
  if (!haveTools(t)) return;
  for (const [name, manifests] of await parsed()) {
    t.match(named(manifests, 'Namespace', 'loradrop')?.metadata, {
      labels: { 'pod-security.kubernetes.io/enforce': 'restricted' },
    });
    for (const { kind, metadata } of manifests.filter((each) => each.kind !== 'Namespace')) {
      t.equal(metadata.namespace, 'loradrop', `${name}: ${kind} ${metadata.name} is in the namespace`);
    }
    for (const account of ofKind(manifests, 'ServiceAccount')) {
      t.equal(account['automountServiceAccountToken'], false);
    }
    for (const { spec, metadata } of workloads(manifests)) {
      const pod = spec.template.spec;
      t.match(
        pod,
        {
          automountServiceAccountToken: false,
          securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
        },
        `${name}: ${metadata.name}`,
      );
      for (const container of [...(pod.initContainers ?? []), ...pod.containers]) {
        t.match(container, {
          securityContext: {
            allowPrivilegeEscalation: false,
            readOnlyRootFilesystem: true,
            capabilities: { drop: ['ALL'] },
          },
          resources: { requests: { cpu: /./, memory: /./ }, limits: { memory: /./ } },
        });
      }
    }
  }
});

test('what selects pods finds them, and what scales them finds what it looks for', async (t) => {
  if (!haveTools(t)) return;
  const { concurrency } = loadConfig({}, {});
  const metrics = createMetrics({ queue: async () => ({ waiting: 1, active: 2, delayed: 3 }) });
  const exposition = await metrics.render();
  for (const [name, manifests] of await parsed()) {
    const pods = workloads(manifests).map(
      ({ spec }) => spec.template.metadata.labels as Record<string, string>,
    );
    const selects = (labels: Record<string, string>, what: string) =>
      t.ok(
        pods.some((pod) => Object.entries(labels).every(([label, value]) => pod[label] === value)),
        `${name}: ${what}`,
      );
    for (const { spec, metadata } of ofKind(manifests, 'Service'))
      selects(spec.selector, `Service ${metadata.name}`);
    for (const kind of ['PodDisruptionBudget', 'PodMonitor']) {
      for (const { spec, metadata } of ofKind(manifests, kind)) {
        selects(spec.selector.matchLabels, `${kind} ${metadata.name}`);
        if (kind === 'PodMonitor') {
          t.strictSame(
            spec.podMetricsEndpoints.map(({ port, path }: Loose) => [port, PROBE_ROUTES.has(path)]),
            [['http', true]],
          );
        }
      }
    }
    for (const { spec } of ofKind(manifests, 'HorizontalPodAutoscaler')) {
      const target = named(manifests, 'Deployment', spec.scaleTargetRef.name)!;
      t.notOk('replicas' in target.spec, `${name}: one alone sets the number of ${target.metadata.name}`);
    }
    for (const { spec, metadata } of ofKind(manifests, 'ScaledObject')) {
      const target = named(manifests, 'Deployment', spec.scaleTargetRef.name)!;
      t.notOk('replicas' in target.spec, `${name}: KEDA alone sets it`);
      t.equal(
        spec.advanced.scalingModifiers.target,
        String(concurrency),
        'a worker for as many jobs as it holds',
      );
      t.equal(
        spec.advanced.scalingModifiers.formula,
        spec.triggers.map((trigger: Loose) => trigger.name).join(' + '),
      );
      for (const { metadata: trigger } of spec.triggers) {
        const url = new URL(trigger.url);
        const [service, namespace] = url.hostname.split('.');
        const { spec: found } = named(manifests, 'Service', service!)!;
        t.equal(namespace, metadata.namespace);
        t.ok(found.ports.some(({ port }: Loose) => port === Number(url.port)));
        t.ok(PROBE_ROUTES.has(url.pathname));
        t.ok(exposition.includes(`\n${trigger.valueLocation} `), `${trigger.valueLocation} is a metric`);
      }
    }
  }
});

test('network policies keep webhooks from what the service refuses itself', async (t) => {
  if (!haveTools(t)) return;
  for (const [name, manifests] of (await parsed()).filter(([each]) => each.includes('network-policy'))) {
    const policies = ofKind(manifests, 'NetworkPolicy');
    t.match(named(policies, 'NetworkPolicy', 'deny-all')?.['spec'], {
      podSelector: {},
      policyTypes: ['Ingress', 'Egress'],
    });
    const [rule] = named(policies, 'NetworkPolicy', 'public-https')?.['spec'].egress ?? [];
    t.strictSame(
      rule.to.map(({ ipBlock }: Loose) => ipBlock),
      [
        { cidr: '0.0.0.0/0', except: NOT_PUBLIC_V4 },
        { cidr: PUBLIC_V6, except: NOT_PUBLIC_V6 },
      ],
      name,
    );
    t.equal(rule.ports.map(({ port }: Loose) => port).join(','), loadConfig({}, {}).webhookPorts);
    const others = policies.filter(({ metadata }) => !['public-https', 'dns'].includes(metadata.name));
    t.notMatch(JSON.stringify(others), /ipBlock/, 'no other rule names addresses');
    const pods = workloads(manifests).map(({ spec }) => spec.template);
    const hasRedis = ofKind(manifests, 'StatefulSet').length > 0;
    for (const { spec, metadata } of policies) {
      if (metadata.name === 'redis' && !hasRedis) continue;
      for (const { ports = [] } of spec.ingress ?? []) {
        for (const { port } of ports) {
          t.ok(
            pods.some((pod) =>
              pod.spec.containers.some((c: Loose) => c.ports.some((p: Loose) => p.name === port)),
            ),
            `${port}`,
          );
        }
      }
    }
  }
});
