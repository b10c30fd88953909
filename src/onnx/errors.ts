import { defineErrors } from '../base/errors.ts';

/** Failures of ONNX files. */
export const onnxErrors = defineErrors({
  invalid: { code: 'onnx-invalid', title: 'The file is not a usable ONNX model.', retryable: false },
});
