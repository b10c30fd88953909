/** A deployment: what is kept of it, and how it stands. */
import type { TenantId } from '../base/ids.ts';
import type { JobFailure } from '../queue/queue.ts';
import type { ServiceJob } from '../queue/service-queue.ts';
import type { ReplicaReport } from '../serving/bring.ts';
import type { Usage } from '../serving/model-server.ts';
import type { DeployPayload } from './catalog.ts';

/** What the runs of a deployment have come to so far; times in milliseconds since the epoch. */
export type DeployAttempts = {
  /** Runs in a row that left something to do. */
  readonly attempts: number;
  readonly lastAt?: number;
  readonly nextAt?: number;
  /** Why nothing could be done at any replica. */
  readonly failure?: JobFailure;
  readonly replicas: readonly ReplicaReport[];
  /** What a request to the servers carries to use the adapter. */
  readonly use?: Usage;
};

/** How a deployment's job ended, until it is run again. */
export type DeployResult = DeployAttempts & {
  readonly outcome: 'deployed' | 'refused' | 'removed';
  readonly endedAt: number;
};

/** How a deployment stands. */
export const DEPLOYMENT_STATES = [
  'pending',
  'partial',
  'deployed',
  'failing',
  'refused',
  'removing',
  'removed',
] as const;
/** One of {@link DEPLOYMENT_STATES}. */
export type DeploymentState = (typeof DEPLOYMENT_STATES)[number];

/** A deployment as it stands. */
export type Deployment = TenantId & {
  readonly payload: DeployPayload;
  /** False once it was taken back, its adapter is gone, or a newer one has its name. */
  readonly wanted: boolean;
  readonly state: DeploymentState;
  readonly attempts: DeployAttempts;
  /** When its job ended, unless it runs or waits. */
  readonly endedAt?: number;
};

/** The attempts of a deployment that none was made at yet. */
export const NO_DEPLOY_ATTEMPTS: DeployAttempts = { attempts: 0, replicas: [] };

/** What two deployments share that have the same adapter under the same name at a target. */
export function claimOf({ tenant, payload }: Pick<Deployment, 'tenant' | 'payload'>): string {
  return `${tenant}/${payload.target}/${payload.servedName}`;
}

/** How a deployment stands, by its job and whether it is wanted. */
export function presentDeployment(
  which: TenantId,
  { payload, result, note, state }: ServiceJob<DeployPayload, DeployResult>,
  wanted: boolean,
): Deployment {
  const attempts = result ?? (note as DeployAttempts | undefined) ?? NO_DEPLOY_ATTEMPTS;
  const ended = state === 'pending' ? undefined : result;
  return {
    ...which,
    payload,
    wanted,
    state: stateOf(wanted, attempts, ended?.outcome),
    attempts,
    ...(ended && { endedAt: ended.endedAt }),
  };
}

function stateOf(
  wanted: boolean,
  { replicas }: DeployAttempts,
  outcome: DeployResult['outcome'] | undefined,
): DeploymentState {
  if (!wanted) return outcome === 'removed' ? 'removed' : 'removing';
  if (outcome === 'deployed' || outcome === 'refused') return outcome;
  const has = (...states: string[]) => replicas.some(({ state }) => states.includes(state));
  if (has('loaded', 'on-request')) return 'partial';
  return has('refused', 'unapplied', 'forgotten', 'missing') ? 'failing' : 'pending';
}
