import { defineErrors } from '../base/errors.ts';

/** Failures of every store. */
export const storeErrors = defineErrors({
  notFound: { code: 'adapter-not-found', title: 'There is no such adapter.', retryable: false },
  nameNotFound: { code: 'name-not-found', title: 'There is no such name.', retryable: false },
  full: { code: 'store-full', title: 'The adapter store has no room left.', retryable: true },
  unavailable: { code: 'store-unavailable', title: 'The adapter store does not answer.', retryable: true },
  badAddress: {
    code: 'store-address-invalid',
    title: 'The store’s address cannot be used.',
    retryable: false,
  },
  unconditional: {
    code: 'store-writes-unconditional',
    title: 'The object store ignores conditions on writes.',
    retryable: false,
  },
});
