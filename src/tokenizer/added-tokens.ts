/** Tokens that are found in the text before the model sees it. Source: the library tokenizers 0.23. */
import { isIn, type TableName } from './code-points.ts';
import { count, flag, list, object, refuse, shown, text } from './fields.ts';
import type { Normalizer } from './normalizers.ts';

/** A part of a text: a token that was added, or what is left for the model. */
export type Section = { readonly start: number; readonly end: number; readonly id: number | undefined };
/** Finds added tokens in a text. */
export type TokenFinder = (text: string) => readonly Section[];

type AddedToken = {
  readonly id: number;
  readonly content: string;
  readonly singleWord: boolean;
  readonly takesLeft: boolean;
  readonly takesRight: boolean;
  readonly isNormalized: boolean;
};

/** The finders for the text as it came and for normalized text, and the ids that they can find. */
export function createTokenFinders(
  value: unknown,
  vocabulary: ReadonlyMap<string, number>,
  normalizer: Normalizer,
): { readonly raw: TokenFinder; readonly normalized: TokenFinder; readonly ids: readonly number[] } {
  const tokens = list(value ?? [], 'list of added tokens').map(addedToken);
  checkIds(tokens, vocabulary);
  const used = tokens.filter(({ content }) => content !== '');
  return {
    raw: finderOf(used.filter(({ isNormalized }) => !isNormalized).map((token) => [token.content, token])),
    normalized: finderOf(
      used.filter(({ isNormalized }) => isNormalized).map((token) => [normalizer(token.content), token]),
    ),
    ids: tokens.map(({ id }) => id),
  };
}

function addedToken(value: unknown): AddedToken {
  const fields = object(value, 'added token');
  const content = text(fields['content'], 'added token');
  const on = (name: string, absent: boolean) => flag(fields[name], absent, `${name} of an added token`);
  return {
    id: count(fields['id'], `id of the added token ${shown(content)}`),
    content,
    singleWord: on('single_word', false),
    takesLeft: on('lstrip', false),
    takesRight: on('rstrip', false),
    isNormalized: on('normalized', !on('special', false)),
  };
}

/** The library numbers tokens itself: a file that numbers them otherwise means other ids than it says. */
function checkIds(tokens: readonly AddedToken[], vocabulary: ReadonlyMap<string, number>): void {
  const size = vocabulary.size;
  const ids = new Map<string, number>();
  let highest = -1;
  for (const { content, id } of tokens) {
    if (content === '') continue;
    const next = highest >= size || size === 0 ? highest + 1 : size;
    const own = vocabulary.get(content) ?? ids.get(content) ?? next;
    if (own !== id)
      throw refuse(`its added token ${shown(content)} has the id ${id}, and its place is ${own}`);
    ids.set(content, id);
    highest = Math.max(highest, id);
  }
}

type Trie = { token?: AddedToken; readonly next: Map<number, Trie> };

function finderOf(tokens: readonly (readonly [string, AddedToken])[]): TokenFinder {
  const root: Trie = { next: new Map() };
  for (const [content, token] of tokens) {
    let node = root;
    for (let at = 0; at < content.length; at++) {
      const unit = content.charCodeAt(at);
      let child = node.next.get(unit);
      if (!child) {
        child = { next: new Map() };
        node.next.set(unit, child);
      }
      node = child;
    }
    // Of two tokens that are the same once normalized, the first is found.
    if (content !== '') node.token ??= token;
  }
  return (whole) => {
    const sections: Section[] = [];
    let end = 0;
    for (const match of matchesOf(root, whole)) {
      const { token } = match;
      let { start, stop } = match;
      if (token.singleWord && !standsAlone(whole, start, stop)) continue;
      if (token.takesLeft) {
        while (start > end && isIn('space', whole.charCodeAt(start - 1))) start--;
      }
      if (token.takesRight) {
        while (stop < whole.length && isIn('space', whole.charCodeAt(stop))) stop++;
      }
      if (start > end) sections.push({ start: end, end: start, id: undefined });
      sections.push({ start, end: stop, id: token.id });
      end = stop;
    }
    if (end < whole.length) sections.push({ start: end, end: whole.length, id: undefined });
    return sections;
  };
}

/** The tokens in a text from the left, of those that begin at one place the longest. */
function* matchesOf(
  root: Trie,
  whole: string,
): Generator<{ token: AddedToken; start: number; stop: number }> {
  for (let start = 0; start < whole.length; ) {
    let node: Trie | undefined = root;
    let found: { token: AddedToken; start: number; stop: number } | undefined;
    for (let at = start; at < whole.length; at++) {
      node = node.next.get(whole.charCodeAt(at));
      if (!node) break;
      if (node.token) found = { token: node.token, start, stop: at + 1 };
    }
    if (found) yield found;
    start = found?.stop ?? start + 1;
  }
}

function standsAlone(whole: string, start: number, stop: number): boolean {
  const word: TableName = 'word';
  const before = start > 0 ? whole.slice(Math.max(0, start - 2), start) : '';
  const last = [...before].at(-1);
  const after = stop < whole.length ? whole.codePointAt(stop) : undefined;
  return (
    !(last !== undefined && isIn(word, last.codePointAt(0)!)) && !(after !== undefined && isIn(word, after))
  );
}
