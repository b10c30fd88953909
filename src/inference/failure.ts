/** Failures on their way from the child process to the engine. */
import { LoradropError } from '../base/errors.ts';
import { loraErrors } from '../lora/errors.ts';
import { inferenceErrors } from './errors.ts';
import type { Failure } from './protocol.ts';

/** What is told of a thrown value. The text of a foreign error may hold anything, so it stays behind. */
export function failureOf(error: unknown): Failure {
  if (error instanceof LoradropError) return { code: error.code, detail: error.message };
  return {
    code: inferenceErrors.runFailed.spec.code,
    detail: 'An unexpected failure in the inference process; its log has it.',
  };
}

/** The error that a failure stands for. */
export function errorOf({ code, detail }: Failure): LoradropError {
  const factories = [...Object.values(inferenceErrors), ...Object.values(loraErrors)];
  const factory = factories.find(({ spec }) => spec.code === code);
  return (factory ?? inferenceErrors.runFailed)(detail);
}
