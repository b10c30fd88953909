import { defineErrors } from '../base/errors.ts';

/** Failures of commands. */
export const cliErrors = defineErrors({
  input: { code: 'input-unusable', title: 'An input of the command cannot be used.', retryable: false },
  output: { code: 'output-occupied', title: 'The output is already there.', retryable: false },
  incomplete: { code: 'copy-incomplete', title: 'Not everything was copied.', retryable: true },
  demo: { code: 'demo-failed', title: 'The demo did not go as it should.', retryable: false },
});
