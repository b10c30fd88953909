/** An evaluation as a file, for import. */
import { Compile } from 'typebox/compile';
import { modelErrors } from '../errors.ts';
import { Evaluation, evaluationErrors } from '../evaluation.ts';

/** Largest file: the most rows there may be, spelled out and indented, take half of it. */
export const MAX_EVALUATION_FILE_BYTES = 1 << 18;
/** Most offending fields an error lists. */
const MAX_FIELD_ERRORS = 20;

const validator = Compile(Evaluation);

/**
 * Reads an evaluation: `{protocol, rows: [{dataset, metric, subject, value, low?, high?, items?, draws?, deviation?}, …]}`.
 * Errors: `evaluation-invalid` with the offending fields.
 */
export function parseEvaluationFile(text: string): Evaluation {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw modelErrors.evaluation('The evaluation is not JSON.', { cause });
  }
  const fields = validator.Check(value)
    ? evaluationErrors(value)
    : validator.Errors(value).map(({ instancePath, message }) => ({ pointer: instancePath, message }));
  if (fields.length > 0) {
    throw modelErrors.evaluation('The evaluation needs a `protocol` and `rows` of figures that agree.', {
      fields: fields.slice(0, MAX_FIELD_ERRORS),
    });
  }
  return value as Evaluation;
}
