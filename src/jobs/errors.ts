import { defineErrors } from '../base/errors.ts';

/** Failures of the prompts of a request or file. */
export const promptErrors = defineErrors({
  empty: { code: 'prompts-empty', title: 'A prompt is missing or blank.', retryable: false },
  tooMany: {
    code: 'too-many-prompts',
    title: 'There are more prompts than are taken at once.',
    retryable: false,
  },
  tooFew: {
    code: 'too-few-prompts',
    title: 'There are fewer prompts than the model takes.',
    retryable: false,
  },
  tooLong: { code: 'prompt-too-long', title: 'A prompt is longer than is taken.', retryable: false },
  invalid: { code: 'prompts-invalid', title: 'The prompts cannot be read.', retryable: false },
  notUtf8: { code: 'text-not-utf8', title: 'The text is not valid UTF-8.', retryable: false },
});

/** Failures of the queue and of jobs. */
export const jobErrors = defineErrors({
  notFound: { code: 'job-not-found', title: 'There is no such job.', retryable: false },
  conflict: {
    code: 'job-conflict',
    title: 'That id or key already stands for another request.',
    retryable: false,
  },
  finished: { code: 'job-finished', title: 'The job has already ended.', retryable: false },
  full: { code: 'queue-full', title: 'Too many jobs are waiting.', retryable: true },
  unavailable: { code: 'queue-unavailable', title: 'The queue does not answer.', retryable: true },
  badAddress: { code: 'queue-address-invalid', title: 'The queue address is not usable.', retryable: false },
  badCursor: { code: 'cursor-invalid', title: 'The cursor is not one of this list.', retryable: false },
  deadline: {
    code: 'deadline-exceeded',
    title: 'The job did not finish before its deadline.',
    retryable: false,
  },
  bundleChanged: {
    code: 'bundle-changed',
    title: 'The bundle is no longer the one the job was accepted for.',
    retryable: false,
  },
  badPayload: {
    code: 'job-payload-invalid',
    title: 'The job does not have the form this version understands.',
    retryable: false,
  },
  noHandler: {
    code: 'job-handler-missing',
    title: 'A job of the catalogue has no handler.',
    retryable: false,
  },
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
