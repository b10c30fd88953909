/** Longest text of a file's that a message repeats. */
const MAX_SHOWN_CHARACTERS = 120;

/** Text of a checkpoint's in a message: control characters escaped, and short whatever its length. */
export function shown(text: string): string {
  const cut = text.length > MAX_SHOWN_CHARACTERS ? `${text.slice(0, MAX_SHOWN_CHARACTERS)}…` : text;
  return JSON.stringify(cut).slice(1, -1);
}
