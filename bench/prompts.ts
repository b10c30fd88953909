/** As many different prompts as asked for, of ordinary length. */
export function makePrompts(count: number): string[] {
  return Array.from(
    { length: count },
    (_, index) => `Which of these ${index + 2} materials conducts heat best, and why?`,
  );
}

/** More prompts than the condition of the small bundle takes, so that each seed draws other ones. */
export const PROMPTS = makePrompts(64);
