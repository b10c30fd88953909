import { defineErrors } from '../base/errors.ts';

/** Failures of everything that runs ONNX. */
export const inferenceErrors = defineErrors({
  unloadable: { code: 'bundle-unloadable', title: 'The bundle does not run.', retryable: false },
  insufficientMemory: {
    code: 'insufficient-memory',
    title: 'There is not enough memory for the bundle.',
    retryable: true,
  },
  engineLost: { code: 'engine-lost', title: 'The inference process ended during the work.', retryable: true },
  engineClosed: { code: 'engine-closed', title: 'The inference engine is shutting down.', retryable: true },
  runFailed: { code: 'inference-failed', title: 'The model did not run to its end.', retryable: true },
  deviceUnavailable: {
    code: 'device-unavailable',
    title: 'The wanted device cannot be used.',
    retryable: false,
  },
  noTemporarySpace: {
    code: 'no-temporary-space',
    title: 'The directory for temporary files has no room for an adapter.',
    retryable: true,
  },
  badPrompts: { code: 'prompts-unusable', title: 'The prompts do not make a condition.', retryable: false },
});
