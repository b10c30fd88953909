import { defineErrors } from '../base/errors.ts';

/** Failures of handing adapters over to model servers. */
export const servingErrors = defineErrors({
  targets: {
    code: 'deploy-targets-invalid',
    title: 'The file of deploy targets cannot be used.',
    retryable: false,
  },
  unknownTarget: {
    code: 'deploy-target-unknown',
    title: 'There is no such deploy target for you.',
    retryable: false,
  },
  unfit: {
    code: 'deploy-unfit',
    title: 'The target’s model servers cannot take this adapter.',
    retryable: false,
  },
  tooMany: {
    code: 'quota-deployments-exceeded',
    title: 'You have as many deployments as a tenant may have.',
    retryable: true,
  },
  notFound: {
    code: 'deployment-not-found',
    title: 'There is no such deployment.',
    retryable: false,
  },
  unavailable: {
    code: 'replica-unavailable',
    title: 'A model server does not answer.',
    retryable: true,
  },
  refused: {
    code: 'replica-refused',
    title: 'A model server refuses the adapter.',
    retryable: true,
  },
});
