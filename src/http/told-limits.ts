/** Limits that the OpenAPI document tells while the program checks them itself. */

/** Keyword under which a schema carries them; checking ignores it, and the document has its members instead. */
const KEYWORD = 'told';

/**
 * Keywords of JSON Schema for a part that is checked by hand, with a failure that says more than `request-invalid`:
 * `count-too-large` for a `maximum`, say. The document shows them like any others.
 */
export const told = (keywords: Readonly<Record<string, unknown>>) => ({ [KEYWORD]: keywords });

/** A document, or any part of one, with the told limits in their places. */
export function showToldLimits<T>(part: T): T {
  if (Array.isArray(part)) return part.map(showToldLimits) as T;
  if (part === null || typeof part !== 'object') return part;
  const { [KEYWORD]: keywords, ...others } = part as Record<string, unknown>;
  const shown = Object.entries({ ...others, ...(keywords as object) });
  return Object.fromEntries(shown.map(([key, value]) => [key, showToldLimits(value)])) as T;
}
