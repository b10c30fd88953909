/** Spaces as Python's `str.strip` knows them: those of Unicode and the four separators of ASCII. */
const SPACE = String.raw`[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]`;
const OUTER_SPACE = new RegExp(`^${SPACE}+|${SPACE}+$`, 'gu');

/**
 * A description as the encoder of a Text-to-LoRA generator is to read it: without space around it, and with a full stop where
 * its last character is a letter of any script, as in training.
 */
export function descriptionText(text: string): string {
  const stripped = text.replaceAll(OUTER_SPACE, '');
  return /\p{L}$/u.test(stripped) ? `${stripped}.` : stripped;
}
