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
  damaged: {
    code: 'stored-file-damaged',
    title: 'A stored file is not the one that its record describes.',
    retryable: false,
  },
});

/** Failures of copies to a destination that a request names. */
export const destinationErrors = defineErrors({
  settings: {
    code: 'destination-settings-invalid',
    title: 'The list of allowed destinations cannot be used.',
    retryable: false,
  },
  invalid: {
    code: 'destination-invalid',
    title: 'The destination does not have the form of one.',
    retryable: false,
  },
  notAllowed: {
    code: 'destination-not-allowed',
    title: 'The operator does not allow this destination.',
    retryable: false,
  },
  denied: {
    code: 'destination-denied',
    title: 'The destination refuses the service’s credentials.',
    retryable: true,
  },
  missing: {
    code: 'destination-missing',
    title: 'The destination’s bucket does not exist.',
    retryable: true,
  },
  full: { code: 'destination-full', title: 'The destination has no room left.', retryable: true },
  unavailable: {
    code: 'destination-unavailable',
    title: 'The destination does not answer as it should.',
    retryable: true,
  },
  occupied: {
    code: 'destination-occupied',
    title: 'Another file has the copy’s place.',
    retryable: false,
  },
});
