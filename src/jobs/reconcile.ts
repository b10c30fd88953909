/**
 * The handler of `reconcile` jobs: asks every replica of every target what it has, and runs the deployments for which this is
 * not what it should have. So a replica that restarts or appears gets its adapters, and one that was away is told what to
 * unload.
 */
import type { Logger } from '../observability/logger.ts';
import type { Metrics } from '../observability/metrics.ts';
import { isListed } from '../serving/bring.ts';
import { servingErrors } from '../serving/errors.ts';
import type { LoadedAdapter } from '../serving/model-server.ts';
import { listReplicas, type ResolveAll } from '../serving/replicas.ts';
import { MODEL_SERVERS } from '../serving/servers.ts';
import type { Target } from '../serving/targets.ts';
import type { AdapterStore } from '../store/store.ts';
import { adapterPath } from './adapter-path.ts';
import { hasAdapter } from './deployed-adapter.ts';
import { claimOf, type Deployment } from './deployment.ts';
import type { Deployments } from './deployments.ts';
import type { JobHandler } from './workers.ts';

/** What reconciling works with. */
export type ReconcileServices = {
  readonly targets: readonly Target[];
  readonly deployments: Pick<Deployments, 'all' | 'kick' | 'takeBack' | 'forget'>;
  readonly store: Pick<AdapterStore, 'of'>;
  readonly metrics: Pick<Metrics, 'deploymentReplicas'>;
  readonly logger: Logger;
  readonly resolve?: ResolveAll;
  readonly now?: () => number;
};

/** A removed deployment is remembered for this long: replicas that were away so long and kept its adapter are told to unload it. */
const REMOVED_KEPT_MS = 48 * 3_600_000;
/** Deployments that are looked at in one go. */
const BATCH = 32;

/** What the replicas of a target have; `undefined` for one that does not answer, `any` for one that cannot tell. */
type Seen = ReadonlyMap<string, readonly LoadedAdapter[] | 'any' | undefined>;

/** Makes the handler. */
export function createReconcileHandler(services: ReconcileServices): JobHandler<'reconcile'> {
  const { targets, deployments, store, metrics, logger, resolve, now = Date.now } = services;

  async function look(target: Target, signal: AbortSignal): Promise<Seen | undefined> {
    const server = MODEL_SERVERS[target.kind];
    const replicas = await listReplicas(target, resolve).catch((error) => {
      logger.warn({ err: error, target: target.name }, 'the replicas of a target are not known');
      return undefined;
    });
    if (!replicas) return undefined;
    const seen = await Promise.all(
      replicas.map(async (replica) => {
        const listed = await server.list(replica, { signal }).then(
          (adapters) => adapters ?? ('any' as const),
          () => undefined,
        );
        return [replica.name, listed] as const;
      }),
    );
    signal.throwIfAborted();
    return new Map(seen);
  }

  /** True when a replica is not as it was left. */
  function hasStrayed(deployment: Deployment, target: Target, seen: Seen): boolean {
    const { tenant, payload, wanted, attempts } = deployment;
    const server = MODEL_SERVERS[target.kind];
    if (!wanted && !server.loads) return false;
    const path = adapterPath(target, tenant, payload, store.of(tenant).location(payload.adapterId));
    const known = new Map(attempts.replicas.map((report) => [report.replica, report.state]));
    return [...seen].some(([replica, listed]) => {
      if (!listed) return false;
      if (listed === 'any') return !known.has(replica);
      const state = known.get(replica);
      // It answers again.
      if (state === undefined || state === 'unavailable') return wanted || isHere(listed);
      return wanted ? state === 'loaded' && !isHere(listed) : state === 'unloaded' && isHere(listed);
    });

    function isHere(listed: readonly LoadedAdapter[]): boolean {
      return isListed(server, listed, { name: payload.servedName, path });
    }
  }

  async function lookAt(
    deployment: Deployment,
    claimed: ReadonlySet<string>,
    { target, seen }: { target: Target | undefined; seen: Seen | undefined },
  ): Promise<boolean> {
    const { wanted, state, endedAt } = deployment;
    const isGone = async () =>
      deployment.payload.expiresAt <= now() || !(await hasAdapter(store, deployment));
    if (wanted && (await isGone())) {
      await deployments.takeBack(deployment);
      return true;
    }
    if (!wanted && state === 'removed' && endedAt !== undefined && now() - endedAt > REMOVED_KEPT_MS) {
      await deployments.forget(deployment);
      return false;
    }
    // Another deployment has the same adapter under the same name, and answers for it.
    if (!wanted && claimed.has(claimOf(deployment)) && state === 'removed') return false;
    const isBack =
      wanted &&
      state === 'refused' &&
      target !== undefined &&
      deployment.attempts.failure?.code === servingErrors.unknownTarget.spec.code;
    const strayed = target && seen && state !== 'refused' && hasStrayed(deployment, target, seen);
    if (!isBack && !strayed) return false;
    logger.info(
      { tenant: deployment.tenant, deployment: deployment.id, target: deployment.payload.target },
      'a replica is not as it was left',
    );
    await deployments.kick(deployment);
    return true;
  }

  return async ({ signal }) => {
    const all = await deployments.all();
    const byTarget = Map.groupBy(all, ({ payload }) => payload.target);
    const claimed = new Set(all.filter(({ wanted }) => wanted).map(claimOf));
    let kicked = 0;
    for (const [name, theirs] of byTarget) {
      signal.throwIfAborted();
      const target = targets.find((each) => each.name === name);
      const seen = target && (await look(target, signal));
      if (target) count(target, seen, theirs);
      for (let at = 0; at < theirs.length; at += BATCH) {
        signal.throwIfAborted();
        const looked = await Promise.all(
          theirs.slice(at, at + BATCH).map((each) =>
            lookAt(each, claimed, { target, seen }).catch((error) => {
              logger.warn(
                { err: error, tenant: each.tenant, deployment: each.id },
                'deployment not looked at',
              );
              return false;
            }),
          ),
        );
        kicked += looked.filter(Boolean).length;
      }
    }
    return { kicked };
  };

  function count(target: Target, seen: Seen | undefined, theirs: readonly Deployment[]): void {
    const up = seen ? [...seen.values()].filter((listed) => listed !== undefined).length : 0;
    metrics.deploymentReplicas.set({ target: target.name, state: 'up' }, up);
    metrics.deploymentReplicas.set({ target: target.name, state: 'down' }, (seen?.size ?? 0) - up);
    const reports = theirs.filter(({ wanted }) => wanted).flatMap(({ attempts }) => attempts.replicas);
    const lacking = reports.filter(({ state }) => state !== 'loaded' && state !== 'on-request').length;
    metrics.deploymentReplicas.set({ target: target.name, state: 'lacking' }, lacking);
  }
}
