import { defineErrors } from '../base/errors.ts';

/** Failures of the queue and of jobs as the queue keeps them. */
export const queueErrors = defineErrors({
  notFound: { code: 'job-not-found', title: 'There is no such job.', retryable: false },
  conflict: {
    code: 'job-conflict',
    title: 'That id or key already stands for another request.',
    retryable: false,
  },
  finished: { code: 'job-finished', title: 'The job has already ended.', retryable: false },
  full: { code: 'queue-full', title: 'Too many jobs are waiting.', retryable: true },
  tenantFull: {
    code: 'quota-waiting-exceeded',
    title: 'As many of your jobs are waiting as may.',
    retryable: true,
  },
  unavailable: { code: 'queue-unavailable', title: 'The queue does not answer.', retryable: true },
  refused: {
    code: 'queue-refused',
    title: 'The queue’s server does not let the service do what it needs.',
    retryable: true,
  },
  damaged: {
    code: 'queue-data-unreadable',
    title: 'The files of the embedded queue cannot be opened.',
    retryable: false,
  },
  badAddress: { code: 'queue-address-invalid', title: 'The queue address is not usable.', retryable: false },
  badCursor: { code: 'cursor-invalid', title: 'The cursor is not one of this list.', retryable: false },
  workersLost: {
    code: 'workers-lost',
    title: 'Every worker that took the job ended before it was done.',
    retryable: false,
  },
  directoryLocked: {
    code: 'data-directory-locked',
    title: 'Another process is using this data directory.',
    retryable: false,
  },
});
