import { defineErrors } from '../base/errors.ts';

/** Failures of what a job does. */
export const jobErrors = defineErrors({
  deadline: {
    code: 'deadline-exceeded',
    title: 'The job did not finish before its deadline.',
    retryable: false,
  },
  bundleChanged: {
    code: 'bundle-changed',
    title: 'No worker has the bundle the job was accepted for.',
    retryable: false,
  },
  badPayload: {
    code: 'job-payload-invalid',
    title: 'The job does not have the form this version understands.',
    retryable: false,
  },
  trainingFile: {
    code: 'training-file-invalid',
    title: 'A file of the fine-tuning job cannot be used.',
    retryable: false,
  },
  noHandler: {
    code: 'job-handler-missing',
    title: 'A job of the catalogue has no handler.',
    retryable: false,
  },
});
