/** A page of a list, as OpenAI's API has it. */
export type Page<T> = { readonly object: 'list'; readonly data: T[]; readonly has_more: boolean };

/** The items after the one with the id `after`, at most `limit`; undefined where no item has that id. */
export function pageOf<T extends { readonly id: string }>(
  items: readonly T[],
  { after, limit }: { after?: string | undefined; limit: number },
): Page<T> | undefined {
  const place = after === undefined ? -1 : items.findIndex(({ id }) => id === after);
  if (after !== undefined && place === -1) return undefined;
  const from = place + 1;
  return { object: 'list', data: items.slice(from, from + limit), has_more: items.length > from + limit };
}
