/** What Kubernetes is given of the monitoring: kustomize reads no file from outside of its directory, so copies lie there. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

const COMPONENT = 'k8s/components/monitoring';
const NOTE = '# Made by `npm run docs` from docker/monitoring/alerts.yaml.';

/** The alert rules as a resource of the Prometheus operator, and the dashboard; path → text. */
export async function renderMonitoringManifests(root: string): Promise<[string, string][]> {
  const read = (name: string) => readFile(join(root, 'docker', 'monitoring', name), 'utf8');
  const rules = (await read('alerts.yaml')).trimEnd().replace(/^(?=.)/gm, '  ');
  const head =
    'apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n  name: loradrop\nspec:\n';
  return [
    [`${COMPONENT}/prometheus-rule.yaml`, `${NOTE}\n${head}${rules}\n`],
    [`${COMPONENT}/dashboard.json`, await read('dashboard.json')],
  ];
}
