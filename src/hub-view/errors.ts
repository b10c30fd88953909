import { defineErrors } from '../base/errors.ts';

/** Failures of clients that read adapters as repositories of a Hub. */
export const hubViewErrors = defineErrors({
  repositoryNotFound: {
    code: 'repository-not-found',
    title: 'There is no such repository.',
    retryable: false,
  },
  revisionNotFound: {
    code: 'revision-not-found',
    title: 'The repository has no such revision.',
    retryable: false,
  },
  entryNotFound: { code: 'entry-not-found', title: 'The revision has no such file.', retryable: false },
});
