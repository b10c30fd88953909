import { defineErrors } from '../base/errors.ts';

/** Failures of those who ask without the right to. */
export const accessErrors = defineErrors({
  keyMissing: { code: 'key-missing', title: 'The request has no API key.', retryable: false },
  keyInvalid: { code: 'key-invalid', title: 'The API key is not known here.', retryable: false },
  keyExpired: { code: 'key-expired', title: 'The API key has expired.', retryable: false },
  scopeMissing: { code: 'scope-missing', title: 'The API key is not meant for this.', retryable: false },
  rateExceeded: {
    code: 'rate-limit-exceeded',
    title: 'More requests were sent than the API key allows.',
    retryable: true,
  },
  adaptersFull: {
    code: 'quota-adapters-exceeded',
    title: 'As many adapters are stored as your quota allows.',
    retryable: true,
  },
  bytesFull: {
    code: 'quota-stored-bytes-exceeded',
    title: 'As many bytes are stored as your quota allows.',
    retryable: true,
  },
  filesFull: {
    code: 'quota-files-exceeded',
    title: 'You have as many uploaded files as a tenant may have.',
    retryable: true,
  },
  namesFull: {
    code: 'quota-names-exceeded',
    title: 'You have as many names as a tenant may have.',
    retryable: true,
  },
  undecided: {
    code: 'access-undecided',
    title: 'The service would be open to everybody who can reach it.',
    retryable: false,
  },
  linkInvalid: { code: 'link-invalid', title: 'The link was not made here.', retryable: false },
  linkExpired: { code: 'link-expired', title: 'The link’s time is over.', retryable: false },
  linkSecretFile: {
    code: 'link-secret-file-invalid',
    title: 'The file of the secret that signs links cannot be used.',
    retryable: false,
  },
  keysFile: { code: 'keys-file-invalid', title: 'The file of API keys cannot be used.', retryable: false },
  keyName: { code: 'key-name-taken', title: 'An API key of this name exists.', retryable: false },
  keyUnknown: { code: 'key-name-unknown', title: 'There is no API key of this name.', retryable: false },
});
