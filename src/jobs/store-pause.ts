/** Jobs that outlive a store which fails: they wait without losing an attempt, since an operator mends a full disk in minutes. */
import type { LoradropError } from '../base/errors.ts';
import type { StoredBullJob } from '../queue/backend.ts';
import { storeErrors } from '../store/errors.ts';
import type { JobName } from './catalog.ts';
import { readPayload } from './read-payload.ts';

/** Options of {@link createStorePause}. */
export type StorePauseOptions = {
  /** Rejects while adapters cannot be stored. */
  readonly storeReady?: (() => Promise<void>) | undefined;
  /** The shortest wait. */
  readonly pauseMs?: number | undefined;
  /** For so long after its acceptance a job outlives failures of a store that says it works; then they cost attempts. */
  readonly patienceMs?: number | undefined;
  readonly now: () => number;
};

/** Someone has to make room or to mend the store; a look each few seconds costs little beside the decode. */
const PAUSE_MS = 5_000;
/** A store that breaks off some requests and answers others, as one behind a failing network does, is mended within minutes, too. */
const PATIENCE_MS = 600_000;
/** Each run costs a decode, so that in a store that works the waits grow with the age of the job. */
const SHARE_OF_AGE = 1 / 4;

/**
 * Makes the function that says how long a job waits that failed because of the store. It says undefined for other failures,
 * when the job has waited for as long as its adapters were to be kept, and, in a store that works, at the end of patience: the
 * failure is then the adapter's own.
 */
export function createStorePause({
  storeReady,
  pauseMs = PAUSE_MS,
  patienceMs = PATIENCE_MS,
  now,
}: StorePauseOptions): (
  name: JobName,
  job: StoredBullJob,
  failure: LoradropError,
) => Promise<number | undefined> {
  return async (name, job, { code }) => {
    const full = code === storeErrors.full.spec.code;
    if (name !== 'generate' || (!full && code !== storeErrors.unavailable.spec.code)) return undefined;
    const payload = readPayload('generate', job.data.payload);
    const { acceptedAt, retentionSeconds, deadlineAt = Number.POSITIVE_INFINITY } = payload;
    const age = now() - acceptedAt;
    if (age > retentionSeconds * 1000) return undefined;
    // At its deadline it is looked at once more, and fails by it.
    const untilDeadline = Math.max(0, deadlineAt - now());
    // Room comes and goes with the drafts of other jobs, so a store that seems to have some again proves nothing.
    const works = await storeReady?.().then(
      () => true,
      () => false,
    );
    if (full || works === false) return Math.min(pauseMs, untilDeadline);
    return age > patienceMs ? undefined : Math.min(Math.max(pauseMs, age * SHARE_OF_AGE), untilDeadline);
  };
}
