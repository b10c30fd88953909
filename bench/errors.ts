import { defineErrors } from '../src/base/errors.ts';

/** What keeps a benchmark from running. */
export const benchErrors = defineErrors({
  usage: { code: 'bench-usage', title: 'The benchmark cannot be run like this.', retryable: false },
  peer: { code: 'bench-peer', title: 'PyTorch, the other side of the comparison, failed.', retryable: false },
});
