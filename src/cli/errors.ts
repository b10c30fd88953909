import { defineErrors } from '../base/errors.ts';

/** Failures of commands. */
export const cliErrors = defineErrors({
  input: { code: 'input-unusable', title: 'An input of the command cannot be used.', retryable: false },
  output: { code: 'output-occupied', title: 'The output is already there.', retryable: false },
  incomplete: { code: 'copy-incomplete', title: 'Not everything was copied.', retryable: true },
  demo: { code: 'demo-failed', title: 'The demo did not go as it should.', retryable: false },
  refused: { code: 'service-refused', title: 'The service refused.', retryable: false },
  busy: { code: 'service-busy', title: 'The service is overloaded or not ready.', retryable: true },
  unreachable: { code: 'service-unreachable', title: 'The service was not reached.', retryable: true },
  jobEnded: { code: 'job-ended', title: 'There is no adapter.', retryable: false },
  damaged: {
    code: 'download-differs',
    title: 'A downloaded file is not the one that was asked for.',
    retryable: true,
  },
});
