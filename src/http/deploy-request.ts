/** Where a request wants its adapters loaded: refused before anything is queued where it does not fit. */
import type { TransformStep } from '../arithmetic/steps.ts';
import { LoradropError } from '../base/errors.ts';
import type { Deploy } from '../jobs/catalog.ts';
import { type AdapterFit, checkFit, findTarget, type Target } from '../serving/targets.ts';

/**
 * Refuses targets that there are not, that the tenant may not use or that do not take the adapter. Errors:
 * `deploy-target-unknown`, `deploy-unfit`, each with the field.
 */
export function checkDeploy(
  deploy: readonly Deploy[] | undefined,
  { tenant, targets }: { readonly tenant: string; readonly targets: readonly Target[] },
  fit: AdapterFit,
): void {
  for (const [index, { target }] of (deploy ?? []).entries()) {
    try {
      checkFit(findTarget(targets, tenant, target), fit);
    } catch (error) {
      if (!(error instanceof LoradropError)) throw error;
      const { code, title, retryable, message } = error;
      const fields = [{ pointer: `/deploy/${index}/target`, message: 'is not possible' }];
      throw new LoradropError({ code, title, retryable }, message, { fields });
    }
  }
}

/** The largest rank that an adapter can have after these steps; of a step by energy only the adapter itself can tell. */
export function plannedRank(rank: number, steps: readonly TransformStep[] = []): number | undefined {
  let planned: number | undefined = rank;
  for (const step of steps) {
    if (step.type !== 'rank') continue;
    planned = step.to === undefined ? undefined : Math.min(step.to, planned ?? step.to);
  }
  return planned;
}
