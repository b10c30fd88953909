/** What a prompt must be, wherever it came from. */
import type { ErrorFactory, FieldError } from '../base/errors.ts';
import { promptErrors } from './errors.ts';

/** Bounds on the prompts of one request or file. */
export type PromptLimits = {
  readonly maxPrompts: number;
  /** UTF-16 code units of one prompt. */
  readonly maxPromptChars: number;
};

/** Most offending prompts a failure lists: enough to see the pattern, and an answer that stays small. */
const MAX_LISTED = 20;

/**
 * Checks prompts that are already strings: at least one and at most `maxPrompts`; none blank, longer than
 * `maxPromptChars`, with NUL or with half a surrogate pair (no encoder could tell such texts apart). Nothing is trimmed or
 * normalised, since every character changes the condition. Errors: `prompts-empty`, `too-many-prompts`,
 * `prompt-too-long`, `prompts-invalid`, naming up to 20 offending prompts by `pointer`.
 */
export function checkPrompts(
  prompts: readonly string[],
  limits: PromptLimits,
  pointer: (index: number) => string,
  place: (index: number) => string = (index) => `Prompt ${index + 1}`,
): void {
  if (prompts.length === 0) throw promptErrors.empty('There is no prompt.');
  if (prompts.length > limits.maxPrompts) throw tooMany(limits);
  const refuse = (make: ErrorFactory, bad: (prompt: string) => boolean, message: string) => {
    const fields: FieldError[] = [];
    let found = 0;
    for (const [index, prompt] of prompts.entries()) {
      if (!bad(prompt)) continue;
      found += 1;
      if (fields.length < MAX_LISTED)
        fields.push({ pointer: pointer(index), message: `${place(index)} ${message}.` });
    }
    if (found > 0) throw make(`${found} of ${prompts.length} prompts cannot be used.`, { fields });
  };
  const { maxPromptChars } = limits;
  refuse(promptErrors.empty, (prompt) => prompt.trim() === '', 'is blank');
  refuse(
    promptErrors.tooLong,
    ({ length }) => length > maxPromptChars,
    `has more than ${maxPromptChars} characters`,
  );
  refuse(
    promptErrors.invalid,
    (prompt) => prompt.includes('\0') || !prompt.isWellFormed(),
    'has a NUL character or half a surrogate pair',
  );
}

/** The failure for more prompts than `maxPrompts`, for callers that see it before they have strings. */
export function tooMany(limits: Pick<PromptLimits, 'maxPrompts'>) {
  return promptErrors.tooMany(`At most ${limits.maxPrompts} prompts are taken at once.`);
}
