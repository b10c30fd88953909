/**
 * Whether a server applies an adapter, told by the log-probabilities that it gives to the tokens of fixed prompts. The base is
 * asked twice: what differs between two equal questions is the server’s noise.
 */

import { toLoradropError } from '../base/errors.ts';

/** What a probe has found. Differences are the largest |Δ log-probability| of a prompt token. */
export type ProbeOutcome =
  | { readonly applied: true | false; readonly difference: number; readonly noise: number }
  | { readonly applied: 'unknown'; readonly reason: string };

/** A prompt takes a server milliseconds; one that has just started, or is busy on a CPU, may take a minute. */
export const PROBE_TIMEOUT_MS = 120_000;

/** Everyday English, so that the log-probabilities are of moderate size with any base. */
export const PROBE_PROMPTS: readonly string[] = [
  'Question: Is the statement below true or false? The moon goes round the earth once a month. Answer:',
  'The following is a short list of things to buy at the market: apples, bread,',
  'def add(a, b):\n    """Return the sum of a and b."""\n    return',
];

/** An adapter has to stand out of the noise by this factor: the noise of one repetition is a poor estimate of the largest. */
const NOISE_FACTOR = 4;
/** Differences below this are rounding of printed numbers, also where two answers of the base are equal to the last digit. */
export const SMALLEST_DIFFERENCE = 1e-5;

/** Log-probabilities of the prompt tokens that have one, of one model of a server for one prompt. */
export type ReadLogprobs = (model: 'base' | 'adapter', prompt: string) => Promise<readonly number[]>;

/** Asks the prompts. Rejects with what `read` rejects with. */
export async function probe(read: ReadLogprobs): Promise<ProbeOutcome> {
  let noise = 0;
  let difference = 0;
  for (const prompt of PROBE_PROMPTS) {
    const base = await read('base', prompt);
    const adapter = await read('adapter', prompt);
    const again = await read('base', prompt);
    if (base.length === 0 || base.length !== adapter.length || base.length !== again.length) {
      return { applied: 'unknown', reason: 'The server gives no log-probabilities of a prompt.' };
    }
    noise = Math.max(noise, largestGap(base, again));
    difference = Math.max(difference, largestGap(base, adapter));
  }
  return { applied: difference > Math.max(NOISE_FACTOR * noise, SMALLEST_DIFFERENCE), difference, noise };
}

function largestGap(a: readonly number[], b: readonly number[]): number {
  return Math.max(...a.map((value, index) => Math.abs(value - b[index]!)));
}

/** A probe that came to nothing is one that found out nothing, with a reason that is safe to show. Rejects with the signal's reason alone. */
export async function findOut(ask: () => Promise<ProbeOutcome>, signal: AbortSignal): Promise<ProbeOutcome> {
  try {
    return await ask();
  } catch (error) {
    signal.throwIfAborted();
    return { applied: 'unknown', reason: toLoradropError(error).message };
  }
}
