/** Files of prompts, read one after the other. */

import { tooMany } from '../prompts/check-prompts.ts';
import type { PromptChoice } from '../prompts/choose-column.ts';
import { readPrompts } from '../prompts/read-prompts.ts';
import { type PromptReading, sourceOf } from '../prompts/read-unpacked.ts';
import type { FormFile } from './read-form.ts';
import type { HttpLimits } from './services.ts';

/**
 * The prompts of all files in their order, under the limits of one request. Files may have their prompts in different
 * columns; the source then names each once. Errors: those of `readPrompts`.
 */
export async function readFiles(
  files: readonly FormFile[],
  choice: PromptChoice,
  limits: HttpLimits,
): Promise<PromptReading> {
  const readings: PromptReading[] = [];
  let count = 0;
  let chars = 0;
  for (const { bytes, format } of files) {
    const reading = await readPrompts(bytes, {
      format,
      // What was unpacked from the files before counts, too; a character is at least a byte.
      limits: { ...limits, maxBytes: Math.max(1, limits.maxBodyBytes - chars) },
      choice,
    });
    readings.push(reading);
    count += reading.prompts.length;
    for (const prompt of reading.prompts) chars += prompt.length;
    if (count > limits.maxPrompts) throw tooMany(limits);
  }
  const [first] = readings;
  if (first && readings.length === 1) return first;
  const prompts = readings.flatMap(({ prompts }) => prompts);
  const fields = new Set(readings.flatMap(({ source }) => source.field ?? []));
  const field = fields.size > 0 ? [...fields].join(', ') : undefined;
  return {
    prompts,
    source: sourceOf(prompts, { format: first!.source.format, ...(field !== undefined && { field }) }),
    warnings: [...new Set(readings.flatMap(({ warnings }) => warnings))],
  };
}
