import { defineErrors } from '../base/errors.ts';

/** Failures of files and fine-tuning jobs as clients of OpenAI's API ask for them. */
export const fineTuningErrors = defineErrors({
  noFile: { code: 'file-not-found', title: 'There is no such file.', retryable: false },
  purpose: {
    code: 'file-purpose-unsupported',
    title: 'Files are not taken for this purpose.',
    retryable: false,
  },
  tooLarge: { code: 'file-too-large', title: 'The file is larger than is taken.', retryable: false },
  unsupported: {
    code: 'fine-tuning-unsupported',
    title: 'This part of fine-tuning is not done here.',
    retryable: false,
  },
});
