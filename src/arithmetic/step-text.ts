/** A step of a transform as a person types it: `scale=0.5`, `rank=4`. */
import { Compile } from 'typebox/compile';
import { arithmeticErrors } from './errors.ts';
import { TransformStep } from './steps.ts';

/** The forms a step may have. */
export const STEP_FORMS = ['scale=FACTOR[,top=K]', 'rank=R', 'energy=SHARE', 'modules=K'] as const;

const Checker = Compile(TransformStep);

/** Reads one step. Errors: `transform-unfit` naming the forms. */
export function readStep(text: string): TransformStep {
  const [name, value, ...rest] = text.split(/[=,]/);
  const number = value === undefined || value.trim() === '' ? Number.NaN : Number(value);
  const step: unknown =
    name === 'rank'
      ? { type: 'rank', to: number }
      : name === 'energy'
        ? { type: 'rank', energy: number }
        : name === 'modules'
          ? { type: 'modules', keep: number }
          : name === 'scale'
            ? { type: 'scale', factor: number, ...topOf(rest) }
            : undefined;
  if ((rest.length > 0 && name !== 'scale') || !Checker.Check(step)) {
    throw arithmeticErrors.unfit(`${JSON.stringify(text)} is no step. A step is ${STEP_FORMS.join(', ')}.`);
  }
  return step;
}

function topOf(rest: readonly string[]): object {
  if (rest.length === 0) return {};
  return rest.length === 2 && rest[0] === 'top' ? { top: Number(rest[1] || 'x') } : { unknown: rest };
}
