import { defineErrors } from '../base/errors.ts';

/** Failures of adapter files. */
export const adapterErrors = defineErrors({
  safetensors: {
    code: 'safetensors-invalid',
    title: 'The file is not a usable safetensors file.',
    retryable: false,
  },
});
