/** More prompts than the untrained bundle's condition takes, so that each seed draws other ones. */
export const PROMPTS = Array.from(
  { length: 64 },
  (_, index) => `Which of these ${index + 2} materials conducts heat best, and why?`,
);
