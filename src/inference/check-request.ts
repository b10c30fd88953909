/** What can be told of a request before any work is done for it. */
import type { InferenceRequest } from './engine.ts';
import { inferenceErrors } from './errors.ts';

/** Refuses a request that its bundle cannot serve. Errors: `prompts-unusable`; a block outside the tokens is a mistake of the caller's code. */
export function checkRequest({ bundle, prompts, blocks }: InferenceRequest): void {
  const { condition, decoder } = bundle.manifest;
  if (prompts.length !== condition.prompts) {
    throw inferenceErrors.badPrompts(
      `The bundle makes a condition of ${condition.prompts} prompts, not of ${prompts.length}.`,
    );
  }
  const [tokens] = decoder.features.at(-1)!;
  for (const { start, count } of blocks) {
    const whole = Number.isInteger(start) && Number.isInteger(count);
    if (!whole || start < 0 || count < 0 || start + count > tokens) {
      throw new RangeError(`tokens ${start}+${count} are not among the ${tokens} of the bundle`);
    }
  }
}
