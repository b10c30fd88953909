import { defineErrors } from '../base/errors.ts';

/** Failures of tokenizer files. */
export const tokenizerErrors = defineErrors({
  invalid: { code: 'tokenizer-invalid', title: 'The tokenizer cannot be used.', retryable: false },
});
