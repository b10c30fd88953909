/** The handler of `copy` jobs: one attempt at a copy of a job's adapters, and when the next one is due. */
import { ADAPTER_CONFIG_FILE } from '../adapter/read-peft-config.ts';
import { toLoradropError } from '../base/errors.ts';
import type { Logger } from '../observability/logger.ts';
import type { Metrics } from '../observability/metrics.ts';
import type { Destinations } from '../store/destinations.ts';
import { destinationErrors, storeErrors } from '../store/errors.ts';
import type { AdapterStore, StoredAdapter } from '../store/store.ts';
import { type CopyAttempts, type CopyResult, noCopyAttempts } from './copies.ts';
import { PutOff } from './run-job.ts';
import type { JobContext, JobHandler } from './workers.ts';

/** What copying works with. */
export type CopyServices = {
  readonly store: Pick<AdapterStore, 'of'>;
  readonly destinations: Pick<Destinations, 'copy'>;
  readonly metrics: Pick<Metrics, 'copies'>;
  readonly logger: Logger;
  readonly now?: () => number;
  readonly random?: () => number;
};

/** The wait after the first failed attempt; it doubles each time up to the longest. */
const FIRST_WAIT_MS = 5_000;
const LONGEST_WAIT_MS = 30 * 60_000;
/** Waits vary by this share either way, so that copies that failed together do not come together again. */
const JITTER = 0.2;
/** After a place has not answered, copies to it are put off for this long without being tried: others need the workers. */
const QUIET_MS = 20_000;
/** Places known not to answer; beyond this the oldest is asked once more. */
const MAX_QUIET = 1000;
/** Codes of failures that no wait mends. */
const FINAL: ReadonlySet<string> = new Set([
  storeErrors.notFound.spec.code,
  storeErrors.damaged.spec.code,
  destinationErrors.occupied.spec.code,
]);

/** The wait after so many failed attempts, in milliseconds. */
export function copyWaitMs(attempts: number, random: () => number = Math.random): number {
  const wait = Math.min(FIRST_WAIT_MS * 2 ** (attempts - 1), LONGEST_WAIT_MS);
  return Math.round(wait * (1 - JITTER + 2 * JITTER * random()));
}

/** Makes the handler. It never rejects for what a destination does; that ends in a result, or puts the job off. */
export function createCopyHandler(services: CopyServices): JobHandler<'copy'> {
  const { store, destinations, metrics, logger, now = Date.now, random = Math.random } = services;
  /** Until when a place is left alone. */
  const quiet = new Map<string, number>();

  function leaveAlone(place: string): void {
    const [oldest] = quiet.keys();
    if (quiet.size >= MAX_QUIET && oldest !== undefined) quiet.delete(oldest);
    quiet.set(place, now() + QUIET_MS);
  }

  async function copyAll({ tenant, payload, signal }: JobContext<'copy'>): Promise<void> {
    const source = store.of(tenant);
    const { bucket, prefix } = payload.destination;
    for (const id of payload.adapterIds) {
      signal.throwIfAborted();
      const adapter = await source.find(id);
      if (!adapter) throw storeErrors.notFound(`${id} was removed before it was copied.`);
      const files = filesToCopy(adapter);
      await destinations.copy({ tenant, place: { bucket, prefix } }, adapter, { source, files, signal });
    }
  }

  return async (context) => {
    const { payload, tenant, signal } = context;
    const before = (context.note as CopyAttempts | undefined) ?? noCopyAttempts(payload);
    const log = logger.child({ tenant, jobId: payload.jobId });
    const end = (outcome: CopyResult['outcome'], { nextAt: _, ...attempts }: CopyAttempts): CopyResult => {
      const code = attempts.failure?.code ?? '';
      metrics.copies.inc({ outcome, code });
      log[outcome === 'delivered' ? 'info' : 'warn']({ outcome, attempts: attempts.attempts, code }, 'copy');
      return { ...attempts, outcome, endedAt: now() };
    };
    const place = `${tenant} ${payload.destination.bucket}`;
    const quietUntil = quiet.get(place) ?? 0;
    if (now() < quietUntil && quietUntil < before.giveUpAt) {
      const nextAt = quietUntil + copyWaitMs(1, random);
      throw new PutOff(nextAt, { ...before, nextAt });
    }
    const { failure: _, ...known } = before;
    const attempts: CopyAttempts = { ...known, attempts: before.attempts + 1, lastAt: now() };
    try {
      await copyAll(context);
      quiet.delete(place);
      return end('delivered', attempts);
    } catch (error) {
      if (signal.aborted) throw error;
      const { code, title, message: detail } = toLoradropError(error);
      const failed: CopyAttempts = { ...attempts, failure: { code, title, detail } };
      if (code === destinationErrors.unavailable.spec.code) leaveAlone(place);
      const nextAt = now() + copyWaitMs(attempts.attempts, random);
      if (FINAL.has(code) || nextAt > before.giveUpAt) return end('failed', failed);
      metrics.copies.inc({ outcome: 'retried', code });
      log.warn({ err: error, code, nextAt }, 'copy will be tried again');
      throw new PutOff(nextAt, { ...failed, nextAt });
    }
  };
}

/** Model servers look for the configuration, so it comes last: once it is there, the adapter is whole. */
function filesToCopy({ files }: StoredAdapter): string[] {
  const names = files.map(({ name }) => name).filter((name) => name !== ADAPTER_CONFIG_FILE);
  return [...names, ADAPTER_CONFIG_FILE];
}
