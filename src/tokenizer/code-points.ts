import { UNICODE_TABLES } from './unicode-tables.ts';

/** A table of {@link UNICODE_TABLES}. */
export type TableName = keyof typeof UNICODE_TABLES;

const LAST = 0x10ffff;
const sets = new Map<TableName, Uint8Array>();

/** The first and the last code point of each range of a table. */
function rangesOf(name: TableName): [number, number][] {
  let end = 0;
  return UNICODE_TABLES[name].split(' ').map((part) => {
    const [gap, further = '0'] = part.split('.');
    const first = end + Number.parseInt(gap!, 36);
    const last = first + Number.parseInt(further, 36);
    end = last + 1;
    return [first, last];
  });
}

/** Whether a table has a code point. */
export function isIn(name: TableName, codePoint: number): boolean {
  let set = sets.get(name);
  if (!set) {
    // A bit each: 140 kB a table, and a look-up costs nothing beside the rest of tokenization.
    set = new Uint8Array((LAST >> 3) + 1);
    for (const [first, last] of rangesOf(name)) {
      for (let point = first; point <= last; point++) set[point >> 3]! |= 1 << (point & 7);
    }
    sets.set(name, set);
  }
  return (set[codePoint >> 3]! & (1 << (codePoint & 7))) !== 0;
}

/** A table as the inside of a character class of a regular expression with the flag `u`. */
export function classOf(name: TableName): string {
  const escaped = (point: number) => `\\u{${point.toString(16)}}`;
  return rangesOf(name)
    .map(([first, last]) => (first === last ? escaped(first) : `${escaped(first)}-${escaped(last)}`))
    .join('');
}
