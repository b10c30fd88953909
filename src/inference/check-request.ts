/** What can be told of a request before any work is done for it. */
import type { InferenceRequest } from './engine.ts';
import { inferenceErrors } from './errors.ts';

/** Refuses a request that its bundle cannot serve. Errors: `prompts-unusable`. */
export function checkRequest({ bundle, prompts }: InferenceRequest): void {
  const { condition } = bundle.manifest;
  if (prompts.length !== condition.prompts) {
    throw inferenceErrors.badPrompts(
      `The bundle makes a condition of ${condition.prompts} prompts, not of ${prompts.length}.`,
    );
  }
}
