/** A deployment → what clients see of it. */
import type { Deployment } from '../jobs/deployment.ts';
import type { JobDeployment } from '../jobs/deployments.ts';
import type { JobStatus } from '../queue/queue.ts';
import type { ReplicaReport } from '../serving/bring.ts';
import type { DeploymentView, JobDeploymentView } from './deployment-schemas.ts';
import { deploymentUrl } from './links.ts';

const isoTime = (ms: number) => new Date(ms).toISOString();

/** The deployment as clients see it. */
export function presentDeployment(deployment: Deployment): DeploymentView {
  const { id, payload, state, attempts } = deployment;
  const { target, name, adapterId: adapter, servedName } = payload;
  const { replicas, nextAt, failure, use } = attempts;
  return {
    id,
    target,
    ...(name !== undefined && { name }),
    adapter,
    state,
    servedName,
    ...(use && { use }),
    replicas: replicas.map(presentReplica),
    ...(nextAt !== undefined && { nextAttemptAt: isoTime(nextAt) }),
    ...(failure && { error: failure }),
    createdAt: isoTime(payload.acceptedAt),
    expiresAt: isoTime(payload.expiresAt),
    url: deploymentUrl(id),
  };
}

/** What a job asks for and what has come of it. */
export function presentJobDeployment(
  { target, name, adapter, deployment }: JobDeployment,
  status: JobStatus,
): JobDeploymentView {
  if (deployment) {
    const { createdAt: _, expiresAt: __, url: ___, ...view } = presentDeployment(deployment);
    return view;
  }
  const over = status === 'failed' || status === 'canceled';
  return {
    target,
    ...(name !== undefined && { name }),
    adapter,
    state: over ? 'refused' : 'pending',
    replicas: [],
  };
}

function presentReplica({ replica, state, at, loads, probe, detail }: ReplicaReport) {
  const why = detail ?? (probe && 'reason' in probe ? probe.reason : undefined);
  return {
    replica,
    state,
    at: isoTime(at),
    loads,
    ...(probe && { applied: probe.applied }),
    ...(probe && 'difference' in probe && { difference: probe.difference, noise: probe.noise }),
    ...(why !== undefined && { detail: why }),
  };
}
