/** The handler of `deploy` jobs: one round over a target's replicas, and when the next one is due. */
import { type LoradropError, toLoradropError } from '../base/errors.ts';
import type { Logger } from '../observability/logger.ts';
import type { Metrics } from '../observability/metrics.ts';
import { bring, isSettled, isUnproven, type ReplicaReport } from '../serving/bring.ts';
import { servingErrors } from '../serving/errors.ts';
import { listReplicas, type ResolveAll } from '../serving/replicas.ts';
import { MODEL_SERVERS } from '../serving/servers.ts';
import { checkFit, findTarget, type Target } from '../serving/targets.ts';
import type { AdapterStore } from '../store/store.ts';
import { adapterPath } from './adapter-path.ts';
import { hasAdapter } from './deployed-adapter.ts';
import { claimOf, type DeployAttempts, type DeployResult, NO_DEPLOY_ATTEMPTS } from './deployment.ts';
import type { Deployments } from './deployments.ts';
import { PutOff } from './run-job.ts';
import type { JobContext, JobHandler } from './workers.ts';

/** What deploying works with. */
export type DeployServices = {
  readonly targets: readonly Target[];
  readonly deployments: Pick<Deployments, 'isWanted' | 'all' | 'takeBack'>;
  readonly store: Pick<AdapterStore, 'of'>;
  readonly metrics: Pick<Metrics, 'deployments'>;
  readonly logger: Logger;
  readonly resolve?: ResolveAll;
  readonly now?: () => number;
  readonly random?: () => number;
};

/** The wait after the first round that left something to do; it doubles each time up to the longest. */
const FIRST_WAIT_MS = 2_000;
/** A replica that comes back is served within this; the reconciler is mostly sooner. */
const LONGEST_WAIT_MS = 60_000;
/** The longest wait where all that answer say no: a wait rarely mends that. */
const LONGEST_REFUSED_WAIT_MS = 300_000;
/** Rounds in which a probe is repeated that came to nothing, as one of a server that is busy. */
const PROBE_ROUNDS = 6;
/** Waits vary by this share either way, so that deployments that failed together do not come together again. */
const JITTER = 0.2;

/** Makes the handler. It never rejects for what a model server does; that ends in a result, or puts the job off. */
export function createDeployHandler(services: DeployServices): JobHandler<'deploy'> {
  const {
    targets,
    deployments,
    store,
    metrics,
    logger,
    resolve,
    now = Date.now,
    random = Math.random,
  } = services;

  /** True while the replicas should have the adapter. */
  async function isWanted(context: JobContext<'deploy'>): Promise<boolean> {
    if (context.payload.expiresAt <= now() || !(await deployments.isWanted(context))) return false;
    return hasAdapter(store, context);
  }

  /** True when another deployment has the same adapter under the same name at the target. */
  async function isClaimed(context: JobContext<'deploy'>): Promise<boolean> {
    const claim = claimOf(context);
    return (await deployments.all()).some(
      (other) => other.wanted && other.id !== context.id && claimOf(other) === claim,
    );
  }

  /** A newer adapter has the name everywhere, so older ones go. */
  async function retireOlder({ tenant, id, payload }: JobContext<'deploy'>): Promise<void> {
    if (payload.name === undefined) return;
    for (const other of await deployments.all()) {
      const { payload: older } = other;
      const same = other.tenant === tenant && older.target === payload.target && older.name === payload.name;
      if (same && other.wanted && other.id !== id && older.acceptedAt < payload.acceptedAt) {
        await deployments.takeBack(other);
      }
    }
  }

  const pathOf = (target: Target, { tenant, payload }: JobContext<'deploy'>) =>
    adapterPath(target, tenant, payload, store.of(tenant).location(payload.adapterId));

  const usageOf = (target: Target, context: JobContext<'deploy'>) =>
    MODEL_SERVERS[target.kind].usage({ name: context.payload.servedName, path: pathOf(target, context) });

  async function round(
    context: JobContext<'deploy'>,
    target: Target,
    { wanted, before }: { wanted: boolean; before: DeployAttempts },
  ): Promise<ReplicaReport[]> {
    const { tenant, payload, signal } = context;
    const server = MODEL_SERVERS[target.kind];
    const path = pathOf(target, context);
    const replicas = await listReplicas(target, resolve);
    return Promise.all(
      replicas.map(async (replica) => {
        const known = before.replicas.find((each) => each.replica === replica.name);
        const report = await bring(replica, {
          server,
          adapter: { name: payload.servedName, path },
          wanted,
          before: known,
          now,
          signal,
          onFailure: (error) =>
            logger.warn(
              { err: error, tenant, deployment: context.id, replica: replica.name },
              'model server',
            ),
        });
        if (report.state !== known?.state)
          metrics.deployments.inc({ target: target.name, outcome: report.state });
        return report;
      }),
    );
  }

  return async (context) => {
    const { payload, tenant, id, signal } = context;
    const before = (context.note as DeployAttempts | undefined) ?? NO_DEPLOY_ATTEMPTS;
    const log = logger.child({ tenant, deployment: id, adapter: payload.adapterId, target: payload.target });
    const { failure: _, nextAt: __, ...known } = before;
    let attempts: DeployAttempts = { ...known, attempts: before.attempts + 1, lastAt: now() };
    const end = (outcome: DeployResult['outcome'], failure?: LoradropError): DeployResult => {
      log[outcome === 'refused' ? 'warn' : 'info'](
        { outcome, replicas: attempts.replicas, code: failure?.code },
        'deployment',
      );
      return {
        ...attempts,
        ...(failure && { failure: failureOf(failure) }),
        attempts: 0,
        outcome,
        endedAt: now(),
      };
    };
    const wanted = await isWanted(context);
    try {
      const target = findTarget(targets, tenant, payload.target);
      if (wanted) checkFit(target, payload);
      if (!wanted && (await isClaimed(context))) return end('removed');
      attempts = {
        ...attempts,
        use: usageOf(target, context),
        replicas: await round(context, target, { wanted, before }),
      };
    } catch (error) {
      signal.throwIfAborted();
      const failure = toLoradropError(error);
      // A target that is gone cannot be told anything; its servers were taken away or belong to somebody else.
      const gone = failure.code === servingErrors.unknownTarget.spec.code;
      if (gone && !wanted) return end('removed', failure);
      if (gone || failure.code === servingErrors.unfit.spec.code) return end('refused', failure);
      attempts = { ...attempts, failure: failureOf(failure) };
      log.warn({ err: error }, 'deployment will be tried again');
    }
    const proven = attempts.attempts >= PROBE_ROUNDS || !attempts.replicas.some(isUnproven);
    const done = attempts.failure === undefined && proven && attempts.replicas.every(isSettled);
    if (done && attempts.replicas.length > 0) {
      if (!wanted) return end('removed');
      await retireOlder(context);
      return end('deployed');
    }
    const nextAt = now() + waitMs(attempts, random);
    log.debug({ replicas: attempts.replicas, nextAt }, 'deployment goes on');
    throw new PutOff(nextAt, { ...attempts, nextAt });
  };
}

function failureOf({ code, title, message: detail }: LoradropError) {
  return { code, title, detail };
}

/** The wait after so many rounds in a row that left something to do, in milliseconds. */
function waitMs({ attempts, replicas }: DeployAttempts, random: () => number): number {
  const isHopeless = replicas.length > 0 && !replicas.some(({ state }) => state === 'unavailable');
  const longest = isHopeless ? LONGEST_REFUSED_WAIT_MS : LONGEST_WAIT_MS;
  const wait = Math.min(FIRST_WAIT_MS * 2 ** Math.min(attempts - 1, 20), longest);
  return Math.round(wait * (1 - JITTER + 2 * JITTER * random()));
}
