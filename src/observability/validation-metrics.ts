/** Metrics of validations: whether the adapters of fine-tuning jobs help. */
import { Counter, Histogram, type Registry } from 'prom-client';

/** How a run of a validation ended: with a verdict of scored rows, without figures (why: `code`), or by a failure of our own. */
type ValidationEnd =
  | { readonly outcome: 'helps' | 'harms' | 'no-difference'; readonly ms: number }
  | { readonly outcome: 'skipped' | 'failed'; readonly code: string };

/** From a few rows on a tiny base to the bound of ten minutes. */
const BUCKETS_S = [0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600];

/** What comes of validations. */
export function validationMetrics(registers: Registry[]) {
  const validations = new Counter({
    name: 'loradrop_validations_total',
    help: 'Runs of validations that ended here: helps, harms or no-difference by the scores; skipped where there are none to be had; failed where the run may be tried again. code says why there are no scores, else empty.',
    labelNames: ['outcome', 'code'],
    registers,
  });
  for (const outcome of ['helps', 'harms', 'no-difference']) validations.inc({ outcome, code: '' }, 0);
  const seconds = new Histogram({
    name: 'loradrop_validation_seconds',
    help: 'Time of a validation that has scores, from its start: reading files, loading the base, and scoring rows twice.',
    buckets: BUCKETS_S,
    registers,
  });
  return {
    /** Notes how a run of a validation ended. */
    validationEnded(end: ValidationEnd) {
      validations.inc({ outcome: end.outcome, code: 'code' in end ? end.code : '' });
      if ('ms' in end) seconds.observe(end.ms / 1000);
    },
  };
}
