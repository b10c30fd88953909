/** Content negotiation (RFC 9110 §12.5.1): which of the media types on offer an Accept header wants most. */

type MediaRange = {
  readonly type: string;
  readonly subtype: string;
  readonly q: number;
};

const RANGE = /^\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)\/([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*((?:;[^;]*)*)$/;
const QUALITY = /;\s*q\s*=\s*(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)\s*(?:;|$)/i;

/** Members that cannot be read are left out, as if the client had not sent them. */
function parseAccept(header: string): MediaRange[] {
  return header.split(',').flatMap((member) => {
    const match = RANGE.exec(member);
    if (!match) return [];
    const [, type, subtype, parameters] = match;
    return [
      {
        type: type!.toLowerCase(),
        subtype: subtype!.toLowerCase(),
        q: Number(QUALITY.exec(parameters!)?.[1] ?? 1),
      },
    ];
  });
}

/** 2 for the very type, 1 for any subtype of its type, 0 for anything, -1 for no match. */
function specificity(range: MediaRange, type: string, subtype: string): number {
  if (range.type === type && range.subtype === subtype) return 2;
  if (range.subtype !== '*') return -1;
  if (range.type === type) return 1;
  return range.type === '*' ? 0 : -1;
}

/**
 * The offered media type (without parameters) that the header wants most, or undefined when it allows none. Of equally
 * wanted ones, one that is named wins over one that a wildcard allows, then the earlier in `offered`. No header allows all.
 */
export function negotiate<T extends string>(
  header: string | undefined,
  offered: readonly [T, ...T[]],
): T | undefined {
  if (header === undefined || header.trim() === '') return offered[0];
  const ranges = parseAccept(header);
  let best: { readonly media: T; readonly q: number; readonly specific: number } | undefined;
  for (const media of offered) {
    const [type, subtype] = media.split('/') as [string, string];
    let q = 0;
    let specific = -1;
    for (const range of ranges) {
      const found = specificity(range, type, subtype);
      if (found > specific) {
        specific = found;
        q = range.q;
      }
    }
    if (q > 0 && (!best || q > best.q || (q === best.q && specific > best.specific))) {
      best = { media, q, specific };
    }
  }
  return best?.media;
}
