import type { RateLimiterAbstract } from 'rate-limiter-flexible';
import type { Logger } from '../observability/logger.ts';

/** How many requests: `burst` in every window of `windowSeconds`. */
export type RatePolicy = { readonly burst: number; readonly windowSeconds: number };

/** What is left of a policy after a request. */
export type RateState = {
  readonly allowed: boolean;
  /** Requests left in the window. */
  readonly remaining: number;
  /** Milliseconds until the window ends and all are free again. */
  readonly resetMs: number;
};

/** Counts requests for all processes that share the queue. */
export type RequestRates = {
  /** Takes one request from what `who` has. Where the datastore does not answer, the request is let through. */
  take(who: string, policy: RatePolicy): Promise<RateState>;
};

/** Makes {@link RequestRates} of a backend's own kind of limiter, one for every policy. */
export function createRequestRates(
  makeLimiter: (policy: RatePolicy) => RateLimiterAbstract,
  logger: Logger,
): RequestRates {
  const limiters = new Map<string, RateLimiterAbstract>();
  return {
    async take(who, policy) {
      const name = `${policy.burst}/${policy.windowSeconds}`;
      const limiter = limiters.get(name) ?? makeLimiter(policy);
      limiters.set(name, limiter);
      const state = await limiter.consume(`${who}/${name}`).catch((refusal: unknown) => refusal);
      if (isState(state)) {
        const allowed = state.consumedPoints <= policy.burst;
        return { allowed, remaining: Math.max(0, state.remainingPoints), resetMs: state.msBeforeNext };
      }
      // The queue itself refuses what it cannot do; reading what is stored already must not depend on it.
      logger.debug({ err: state }, 'requests not counted');
      return { allowed: true, remaining: policy.burst, resetMs: 0 };
    },
  };
}

type LimiterState = {
  readonly consumedPoints: number;
  readonly remainingPoints: number;
  readonly msBeforeNext: number;
};

/** The limiter answers alike whether it allows or, by rejecting, refuses; anything else is a failure. */
function isState(value: unknown): value is LimiterState {
  return value !== null && typeof value === 'object' && 'msBeforeNext' in value;
}
