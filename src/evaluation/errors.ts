import { defineErrors } from '../base/errors.ts';

/** Failures of running base models and of the data they are asked about. */
export const evaluationErrors = defineErrors({
  data: { code: 'evaluation-data-invalid', title: 'The rows cannot be used.', retryable: false },
  base: { code: 'base-model-unusable', title: 'The base model cannot be used.', retryable: false },
  adapter: {
    code: 'base-adapter-refused',
    title: 'The base model does not take the adapter.',
    retryable: false,
  },
  runtime: {
    code: 'base-runtime-missing',
    title: 'Base models cannot be run on this machine.',
    retryable: false,
  },
  ended: {
    code: 'evaluation-ended',
    title: 'The evaluation did not come to its end.',
    retryable: false,
  },
});
