/** Which waiting requests go to the device together. */
import type { Bundle } from '../models/bundle.ts';

/** A request that waits, as far as batching looks at it. */
export type Waiting = { readonly bundle: Bundle; readonly arrivedAtMs: number };

/** Tokens a request brings at most: N prompts of Lt tokens. */
export function requestTokens({ bundle }: Waiting): number {
  const { prompts, tokens } = bundle.manifest.condition;
  return prompts * tokens;
}

/**
 * The next micro-batch: the first request and the later ones of the same bundle, in order, as long as their tokens fit the
 * budget together. `dueInMs` is how long it may still wait for more: nothing once it is full or its first request has waited
 * `waitMs`. Requests of a bundle are decoded one by one, so what a batch saves is encoding: prompts they share go through
 * the encoder once, and runs of the encoder are full.
 */
export function nextBatch<T extends Waiting>(
  queue: readonly [T, ...T[]],
  options: { tokenBudget: number; waitMs: number; nowMs: number },
): { requests: T[]; dueInMs: number } {
  const [first, ...later] = queue;
  const requests = [first];
  let tokens = requestTokens(first);
  let full = tokens >= options.tokenBudget;
  for (const request of later) {
    if (full) break;
    if (request.bundle.digest !== first.bundle.digest) continue;
    tokens += requestTokens(request);
    full = tokens >= options.tokenBudget;
    if (tokens <= options.tokenBudget) requests.push(request);
  }
  return { requests, dueInMs: full ? 0 : Math.max(0, first.arrivedAtMs + options.waitMs - options.nowMs) };
}
