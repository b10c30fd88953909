/** When a delivery that failed is tried again. */

const minute = 60_000;
const hour = 60 * minute;

/** Waits after the first, second … attempt: from seconds, for receivers that restart, to hours. */
const WAITS_MS = [5000, 30_000, 2 * minute, 10 * minute, 30 * minute, hour, 2 * hour, 4 * hour, 8 * hour];
/** A delivery is given up this long after it could first be made. */
export const GIVE_UP_MS = 24 * hour;
/** Waits vary by this share either way, so that messages that failed together do not come together again. */
const JITTER = 0.2;

/** The wait after `attempts` attempts, in milliseconds. A receiver's own `Retry-After` is the least. */
export function retryWaitMs(
  attempts: number,
  { retryAfterMs = 0, random = Math.random }: { retryAfterMs?: number; random?: () => number } = {},
): number {
  const wait = WAITS_MS[Math.min(attempts, WAITS_MS.length) - 1] ?? WAITS_MS[0]!;
  const varied = wait * (1 - JITTER + 2 * JITTER * random());
  return Math.round(Math.max(varied, retryAfterMs * (1 + JITTER * random())));
}
