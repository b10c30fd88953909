/** The dashboard as tests look at it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Where the files for monitoring are. */
export const MONITORING = join(import.meta.dirname, '..', '..', 'docker', 'monitoring');

type Panel = {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets?: readonly { readonly expr: string }[];
};

/** The committed dashboard. */
export const dashboard = JSON.parse(readFileSync(join(MONITORING, 'dashboard.json'), 'utf8')) as {
  readonly uid: string;
  readonly panels: readonly Panel[];
};

/** Every query of the dashboard, with Grafana's own variables filled in as it would. */
export const queries = dashboard.panels.flatMap(({ title, targets = [] }) =>
  targets.map(({ expr }) => ({
    title,
    expression: expr.replaceAll('$__rate_interval', '1m').replaceAll('$__range', '3h'),
  })),
);

/** Names of metrics in an expression: the prefixes of ours and of the runtime's. */
export function metricsIn(expression: string): string[] {
  return [...expression.matchAll(/\b(?:loradrop|nodejs|process)_[a-z0-9_]+/g)].map(([name]) => name);
}
