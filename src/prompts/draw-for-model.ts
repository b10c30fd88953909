/** What of a request's texts goes to a model: a draw of its prompts, or its one description. */
import { type DrawRequest, drawPrompts, type PromptDraw } from './draw-prompts.ts';
import { promptErrors } from './errors.ts';

/** What a model wants of texts. */
export type TextWants = {
  /** `dnd` takes prompts of a task, `t2l` one description of it. */
  readonly family: 'dnd' | 't2l';
  readonly condition: { readonly prompts: number };
};

/**
 * {@link drawPrompts} for a model that takes prompts. A model that takes a description gets the only text that was given, as it
 * is: nothing is drawn, and the same description always gives the same adapter.
 * Errors: `too-few-prompts`; `one-description` where such a model is given several texts, or asked for several adapters.
 */
export function drawForModel(
  { family, condition }: TextWants,
  request: Omit<DrawRequest, 'wanted'>,
): PromptDraw {
  if (family === 'dnd') return drawPrompts({ ...request, wanted: condition.prompts });
  checkOneDescription(request);
  return { prompts: [...request.given], draws: [[0]], warnings: [] };
}

/** Refuses what a model that takes one description cannot do. Errors: `one-description`. */
export function checkOneDescription({
  given,
  count,
  strict = false,
}: Pick<DrawRequest, 'given' | 'count' | 'strict'>): void {
  if (given.length !== 1) {
    throw promptErrors.oneDescription(
      `The model takes one description of a task, and ${given.length} texts were sent. Describe the task in one text, or choose a model that takes prompts.`,
      { fields: [{ pointer: '/prompts', message: 'must have exactly 1 item for this model' }] },
    );
  }
  if (count !== 1) {
    throw promptErrors.oneDescription(
      `The model makes one adapter of a description, the same each time, and ${count} were asked for. Send a request for each description.`,
      { fields: [{ pointer: '/count', message: 'must be 1 for this model' }] },
    );
  }
  if (strict) {
    throw promptErrors.oneDescription(
      'The model takes one description, so that there are never too few prompts to refuse. Leave strictPrompts out.',
      { fields: [{ pointer: '/strictPrompts', message: 'must be left out for this model' }] },
    );
  }
}
