import { defineErrors } from '../base/errors.ts';

/** Failures of adapter arithmetic. */
export const arithmeticErrors = defineErrors({
  unfit: {
    code: 'transform-unfit',
    title: 'The transform does not fit the adapter.',
    retryable: false,
  },
});
