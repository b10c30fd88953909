import { defineErrors } from '../base/errors.ts';

/** Failures of adapter algebra. */
export const loraErrors = defineErrors({
  layout: { code: 'layout-invalid', title: 'The weight-token layout does not fit.', retryable: false },
  notFinite: {
    code: 'adapter-not-finite',
    title: 'The decoder produced numbers that are not finite.',
    retryable: false,
  },
});
