import { defineErrors } from '../base/errors.ts';

/** Failures of webhooks: of what a request asks for, of the operator's files and settings, and of looking at deliveries. */
export const webhookErrors = defineErrors({
  urlInvalid: {
    code: 'webhook-url-invalid',
    title: 'The webhook’s address is not one that can be called.',
    retryable: false,
  },
  addressRefused: {
    code: 'webhook-address-refused',
    title: 'The webhook’s address is one that this service does not call.',
    retryable: false,
  },
  unresolvable: {
    code: 'webhook-unresolvable',
    title: 'The webhook’s host name has no address.',
    retryable: false,
  },
  eventsInvalid: {
    code: 'webhook-events-invalid',
    title: 'The webhook asks for events that there are not.',
    retryable: false,
  },
  secretMissing: {
    code: 'webhook-secret-missing',
    title: 'There is no secret to sign webhooks with.',
    retryable: false,
  },
  secretsFile: {
    code: 'webhook-secrets-file-invalid',
    title: 'The file of webhook secrets cannot be used.',
    retryable: false,
  },
  secretExists: {
    code: 'webhook-secret-exists',
    title: 'There is a webhook secret already.',
    retryable: false,
  },
  settings: {
    code: 'webhook-settings-invalid',
    title: 'A setting of webhooks has a value that cannot be used.',
    retryable: false,
  },
  deliveryNotFound: {
    code: 'delivery-not-found',
    title: 'The job has no such delivery.',
    retryable: false,
  },
  deliveryPending: {
    code: 'delivery-pending',
    title: 'The delivery has not ended yet.',
    retryable: true,
  },
});
