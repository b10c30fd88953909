import type { Logger } from '../observability/logger.ts';
import type { AdapterStore } from '../store/store.ts';
import type { Copies } from './copies.ts';
import type { Deliveries } from './deliveries.ts';
import type { Deployments } from './deployments.ts';
import type { GenerateQueue } from './generate-queue.ts';
import type { Validations } from './validations.ts';
import type { JobHandler } from './workers.ts';

/** What clean-up works with. */
export type ExpireServices = {
  readonly queue: Pick<GenerateQueue, 'removeExpired' | 'mendTurns'>;
  readonly deliveries: Pick<Deliveries, 'removeAll'>;
  readonly copies: Pick<Copies, 'remove'>;
  readonly deployments: Pick<Deployments, 'takeBackAdapter'>;
  readonly validations: Pick<Validations, 'remove'>;
  /** Files that clients have uploaded. */
  readonly files: Pick<AdapterStore, 'expired' | 'of'>;
  readonly store: Pick<AdapterStore, 'expired' | 'of'>;
  readonly logger: Logger;
  readonly now?: () => number;
};

/** Adapters or records looked at in one step: short enough that a canceled run ends soon. */
const BATCH = 100;
/** Steps of each kind in one run; what is left over waits for the next one, a minute later. */
const MAX_STEPS = 100;

type Step = () => Promise<{ readonly removed: number; readonly more: boolean }>;

/** Makes the handler of the `expire` job: removes adapters, uploaded files and job records whose retention is over. */
export function createExpireHandler(services: ExpireServices): JobHandler<'expire'> {
  const { queue, deliveries, copies, deployments, validations, files, store, logger } = services;
  const { now = Date.now } = services;

  const removeAdapters: Step = async () => {
    const names = await store.expired(now(), BATCH);
    const removed = await Promise.all(
      names.map(async ({ tenant, id }) => {
        const gone = await store.of(tenant).remove(id);
        await deployments.takeBackAdapter({ tenant, id });
        return gone;
      }),
    );
    return { removed: removed.filter(Boolean).length, more: names.length === BATCH };
  };
  const removeFiles: Step = async () => {
    const names = await files.expired(now(), BATCH);
    const removed = await Promise.all(names.map(({ tenant, id }) => files.of(tenant).remove(id)));
    return { removed: removed.filter(Boolean).length, more: names.length === BATCH };
  };
  const removeRecords: Step = () =>
    queue.removeExpired(now(), BATCH, async (record) => {
      await deliveries.removeAll(record);
      await copies.remove(record);
      await validations.remove(record);
    });

  async function repeat(step: Step, signal: AbortSignal): Promise<number> {
    let total = 0;
    for (let steps = 0; steps < MAX_STEPS; steps++) {
      signal.throwIfAborted();
      const { removed, more } = await step();
      total += removed;
      if (!more) break;
    }
    return total;
  }

  return async ({ signal }) => {
    const adapters = await repeat(removeAdapters, signal);
    const uploads = await repeat(removeFiles, signal);
    const records = await repeat(removeRecords, signal);
    await queue.mendTurns();
    if (adapters + uploads + records > 0) {
      logger.info({ adapters, files: uploads, records }, 'removed what has expired');
    }
    return { adapters, files: uploads, records };
  };
}
