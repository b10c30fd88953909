/** Looks at items so many at a time, each batch after the one before; the answers are in the order of the items. */
export async function inBatches<A, B>(
  items: readonly A[],
  size: number,
  look: (item: A) => Promise<B>,
): Promise<B[]> {
  const found: B[] = [];
  for (let at = 0; at < items.length; at += size) {
    found.push(...(await Promise.all(items.slice(at, at + size).map(look))));
  }
  return found;
}
