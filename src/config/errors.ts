import { defineErrors } from '../base/errors.ts';

/** Failures of the settings: start-up stops with them. */
export const configErrors = defineErrors({
  invalid: {
    code: 'settings-invalid',
    title: 'A setting has a value that cannot be used.',
    retryable: false,
  },
});
