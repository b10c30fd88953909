/** Cutting a text at matches, in the five ways that the library tokenizers knows. */

/** What becomes of a match: it goes, stands alone, joins its neighbour, or joins the matches beside it. */
export type Behaviour = 'Removed' | 'Isolated' | 'MergedWithPrevious' | 'MergedWithNext' | 'Contiguous';

/** A part of a text, in UTF-16 units; never empty. */
export type Range = { readonly start: number; readonly end: number };
/** Finds matches from the left, none overlapping another. */
export type Matches = (text: string) => Iterable<Range>;

type Part = { start: number; end: number; isMatch: boolean };

/** The parts of a text that are left, in order. With `inverts`, what lies between matches counts as the match. */
export function splitText(
  text: string,
  matches: Matches,
  behaviour: Behaviour,
  inverts = false,
): readonly Range[] {
  const parts: Part[] = [];
  let end = 0;
  for (const match of matches(text)) {
    if (match.start > end) parts.push({ start: end, end: match.start, isMatch: inverts });
    parts.push({ start: match.start, end: match.end, isMatch: !inverts });
    end = match.end;
  }
  if (end < text.length) parts.push({ start: end, end: text.length, isMatch: inverts });
  switch (behaviour) {
    case 'Removed':
      return parts.filter(({ isMatch }) => !isMatch);
    case 'Isolated':
      return parts;
    case 'Contiguous':
      return joined(parts, (before, part) => before.isMatch === part.isMatch);
    case 'MergedWithPrevious':
      return joined(parts, (before, part) => part.isMatch && !before.isMatch);
    case 'MergedWithNext':
      return joined(parts, (before, part) => before.isMatch && !part.isMatch);
  }
}

/** Neighbours made one where they belong together by what the last of them was. */
function joined(parts: readonly Part[], belongs: (before: Part, part: Part) => boolean): readonly Range[] {
  const done: Part[] = [];
  let before: Part | undefined;
  for (const part of parts) {
    if (before && belongs(before, part)) done.at(-1)!.end = part.end;
    else done.push({ ...part });
    before = part;
  }
  return done;
}
