import { defineErrors } from '../base/errors.ts';

/** Failures of bundles and imports. */
export const modelErrors = defineErrors({
  unknown: { code: 'model-not-found', title: 'There is no such model.', retryable: false },
  invalid: { code: 'bundle-invalid', title: 'The bundle is damaged or not a bundle.', retryable: false },
  schema: {
    code: 'bundle-schema-unknown',
    title: 'The bundle was written for another version.',
    retryable: false,
  },
  checkpoint: { code: 'checkpoint-invalid', title: 'The checkpoint cannot be imported.', retryable: false },
  encoder: { code: 'encoder-invalid', title: 'The encoder cannot be imported.', retryable: false },
});
