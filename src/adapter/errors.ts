import { defineErrors } from '../base/errors.ts';

/** Failures of adapter files. */
export const adapterErrors = defineErrors({
  safetensors: {
    code: 'safetensors-invalid',
    title: 'The file is not a usable safetensors file.',
    retryable: false,
  },
  mismatch: {
    code: 'adapter-mismatch',
    title: 'The adapter does not fit the base model it is for.',
    retryable: false,
  },
  ggufUnsupported: {
    code: 'gguf-unsupported',
    title: 'The adapter cannot be written as GGUF.',
    retryable: false,
  },
  headsUnknown: {
    code: 'gguf-heads-unknown',
    title: 'The number of attention heads of the base is not known.',
    retryable: false,
  },
});
