/** Reading prompts in tests. */
import type { LoradropError } from '../../src/base/errors.ts';
import type { PromptChoice } from '../../src/prompts/choose-column.ts';
import type { PromptFormat } from '../../src/prompts/prompt-format.ts';
import { type ReadPromptsOptions, readPrompts } from '../../src/prompts/read-prompts.ts';

/** Small enough that tests reach them. */
export const LIMITS = { maxPrompts: 50, maxPromptChars: 1000, maxBytes: 100_000 };

type Limits = Partial<ReadPromptsOptions['limits']>;

/** Reads text or bytes. */
export function read(
  content: string | Uint8Array,
  format: PromptFormat,
  { choice = {}, ...limits }: Limits & { choice?: PromptChoice } = {},
) {
  const bytes = typeof content === 'string' ? Buffer.from(content) : content;
  return readPrompts(bytes, { format, choice, limits: { ...LIMITS, ...limits } });
}

/** The failure of reading. */
export async function failureOf(reading: Promise<unknown>): Promise<LoradropError> {
  return reading.then(
    (value) => {
      throw new Error(`nothing was thrown, but ${JSON.stringify(value)} read`);
    },
    (error) => error as LoradropError,
  );
}

/** Rows as JSON lines. */
export const lines = (...rows: readonly unknown[]) => rows.map((row) => JSON.stringify(row)).join('\n');
