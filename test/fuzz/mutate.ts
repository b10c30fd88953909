/** Random changes of files: bytes, lengths, words, and the structure of JSON. Seeded, so a run can be made again. */
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import type { RandomGenerator } from 'pure-rand/types/RandomGenerator';

/** A file, as a reader may get one. */
export type Sample = { readonly name: string; readonly bytes: Buffer };

/** Largest input that is made: loops and limits show at this size already. */
const MAX_BYTES = 256 << 10;
/** Most changes of one file. A few leave most of it as it was, so that readers get past its beginning. */
const MAX_CHANGES = 5;

/** Numbers at the ends of types, and a few that limits are often made of. */
const NUMBERS = [
  0,
  1,
  -1,
  2,
  7,
  8,
  16,
  127,
  128,
  255,
  256,
  32_767,
  65_535,
  65_536,
  1_048_576,
  2 ** 24,
  2 ** 31 - 1,
  2 ** 31,
  2 ** 32 - 1,
  2 ** 32,
  2 ** 53 - 1,
  2 ** 53,
  2 ** 63,
  -(2 ** 31),
  -(2 ** 63),
];
/** What formats give a meaning to. */
const WORDS = [
  '\0',
  '"',
  '\\',
  '{',
  '}',
  '[',
  ']',
  ',',
  ':',
  '\r\n',
  '\n',
  '\r',
  '\t',
  ';',
  '=',
  '--',
  'null',
  'true',
  '-0',
  '1e999',
  'NaN',
  '__proto__',
  'constructor',
  'toString',
  '\u{feff}',
  '\u{d7ff}\u{10ffff}',
  '\\ud800',
  '../',
  '/',
  'PK\x03\x04',
  'PK\x05\x06',
  'PAR1',
  'GGUF',
  '\x1f\x8b\x08',
  '\x28\xb5\x2f\xfd',
  '\x80\x02',
  'filename*=',
  'boundary=',
  '\x82',
  '\x0a\xff\xff\xff\xff\x0f',
].map((word) => Buffer.from(word, /^[\0-\xff]*$/.test(word) ? 'latin1' : 'utf8'));

/** Values that take the place of a part of JSON. */
const VALUES: readonly unknown[] = [
  null,
  true,
  false,
  '',
  'x',
  '\0',
  '__proto__',
  '\u{1f4a9}',
  ...NUMBERS,
  0.5,
  1e308,
  [],
  {},
  [[]],
  [null],
  [0],
  [''],
  ['x', 'y'],
  'x'.repeat(5000),
  { type: 'Sequence' },
  { '': '' },
];

const below = (random: RandomGenerator, count: number) => uniformInt(random, 0, count - 1);
const pick = <T>(random: RandomGenerator, values: readonly T[]) => values[below(random, values.length)]!;

/** A changed copy of one of the samples, under that sample's name. */
export function mutate(samples: readonly Sample[], random: RandomGenerator): Sample {
  const { name, bytes } = pick(random, samples);
  const structured = below(random, 2) === 0 ? mutateStructure(bytes, random) : undefined;
  if (structured) return { name, bytes: structured };
  let changed = bytes;
  for (let left = 1 + below(random, MAX_CHANGES); left > 0; left--) {
    changed = pick(random, CHANGES)(changed, random, samples).subarray(0, MAX_BYTES);
  }
  return { name, bytes: changed };
}

type Change = (bytes: Buffer, random: RandomGenerator, samples: readonly Sample[]) => Buffer;

/** Two places in order, mostly near each other. */
function range(bytes: Buffer, random: RandomGenerator): [number, number] {
  const start = below(random, bytes.length + 1);
  const most = below(random, 4) === 0 ? bytes.length : 32;
  return [start, Math.min(bytes.length, start + below(random, most + 1))];
}
function overwrite(bytes: Buffer, at: number, by: Uint8Array): Buffer {
  const copy = Buffer.from(bytes);
  copy.set(by.subarray(0, Math.max(0, copy.length - at)), at);
  return copy;
}
const replace = (bytes: Buffer, [start, end]: [number, number], by: Uint8Array) =>
  Buffer.concat([bytes.subarray(0, start), by, bytes.subarray(end)]);

/** A number as a length field has it. */
function field(random: RandomGenerator): Buffer {
  const number = BigInt(pick(random, NUMBERS));
  const bytes = Buffer.alloc(pick(random, [1, 2, 4, 8]));
  for (let at = 0, rest = number; at < bytes.length; at++, rest >>= 8n) bytes[at] = Number(rest & 0xffn);
  return below(random, 2) === 0 ? bytes : bytes.reverse();
}

const CHANGES: readonly Change[] = [
  // A bit, a byte, a length field, a word over what is there.
  (bytes, random) => {
    const at = below(random, bytes.length + 1);
    return overwrite(bytes, at, Buffer.of((bytes[at] ?? 0) ^ (1 << below(random, 8))));
  },
  (bytes, random) => overwrite(bytes, below(random, bytes.length + 1), Buffer.of(below(random, 256))),
  (bytes, random) => overwrite(bytes, below(random, bytes.length + 1), field(random)),
  (bytes, random) => overwrite(bytes, below(random, Math.min(bytes.length, 64) + 1), field(random)),
  (bytes, random) => overwrite(bytes, below(random, bytes.length + 1), pick(random, WORDS)),
  // Something added, taken away, or cut off.
  (bytes, random) => replace(bytes, [below(random, bytes.length + 1), bytes.length], Buffer.of()),
  (bytes, random) => replace(bytes, range(bytes, random), Buffer.of()),
  (bytes, random) => replace(bytes, range(bytes, random), pick(random, WORDS)),
  (bytes, random) => {
    const [start, end] = range(bytes, random);
    return replace(bytes, [end, end], bytes.subarray(start, end));
  },
  // A part many times over: nesting and lists without end.
  (bytes, random) => {
    const [start, end] = range(bytes, random);
    const part = bytes.subarray(start, Math.min(end, start + 16));
    const times = pick(random, [10, 1000, 10_000]);
    return replace(bytes, [start, start], Buffer.concat(Array.from({ length: times }, () => part)));
  },
  // The rest of another file.
  (bytes, random, samples) => {
    const other = pick(random, samples).bytes;
    const at = below(random, bytes.length + 1);
    return replace(bytes, [at, bytes.length], other.subarray(below(random, other.length + 1)));
  },
  // A number in digits.
  (bytes, random) => {
    const found = [...bytes.toString('latin1').matchAll(/-?\d+/g)];
    if (found.length === 0) return bytes;
    const { index, 0: digits } = pick(random, found);
    return replace(bytes, [index, index + digits.length], Buffer.from(String(BigInt(pick(random, NUMBERS)))));
  },
];

/** The same file with parts of its JSON changed, be it all JSON, JSON lines or the header of safetensors; undefined for others. */
function mutateStructure(bytes: Buffer, random: RandomGenerator): Buffer | undefined {
  const headerBytes = bytes.length > 10 && bytes[8] === 0x7b ? Number(bytes.readBigUInt64LE()) : undefined;
  if (headerBytes !== undefined && headerBytes <= bytes.length - 8) {
    const header = mutateJson(bytes.toString('utf8', 8, 8 + headerBytes), random);
    if (header === undefined) return undefined;
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(header.length));
    return Buffer.concat([length, header, bytes.subarray(8 + headerBytes)]);
  }
  const text = bytes.toString();
  return mutateJson(text, random) ?? mutateLine(text, random);
}

/** Changes one of several lines of JSON. */
function mutateLine(text: string, random: RandomGenerator): Buffer | undefined {
  const lines = text.trimEnd().split('\n');
  const place = below(random, lines.length);
  const line = lines.length > 1 ? mutateJson(lines[place]!, random) : undefined;
  if (line === undefined) return undefined;
  return Buffer.from(lines.with(place, line.toString()).join('\n')).subarray(0, MAX_BYTES);
}

function mutateJson(text: string, random: RandomGenerator): Buffer | undefined {
  let root: { '': unknown };
  try {
    root = { '': JSON.parse(text) };
  } catch {
    return undefined;
  }
  for (let left = 1 + below(random, 3); left > 0; left--) changePlace(root, random);
  try {
    // Without a value left there is nothing to write.
    return Buffer.from(JSON.stringify(root['']) ?? 'null').subarray(0, MAX_BYTES);
  } catch {
    // Nested too deep to be written.
    return undefined;
  }
}

type Container = Record<string, unknown>;

/** Walks down at random and changes the place it comes to. */
function changePlace(root: Container, random: RandomGenerator): void {
  let [holder, key] = [root, ''];
  for (;;) {
    const value = holder[key];
    const keys = value !== null && typeof value === 'object' ? Object.keys(value) : [];
    if (keys.length === 0 || below(random, 5) === 0) break;
    [holder, key] = [value as Container, pick(random, keys)];
  }
  const kind = below(random, 5);
  if (kind === 0 && !Array.isArray(holder)) delete holder[key];
  else if (kind === 1 && !Array.isArray(holder)) holder[`${key}x`] = holder[key];
  else if (kind === 2) holder[key] = nested(holder[key], pick(random, [1, 2, 30, 1000]));
  else if (kind === 3 && Array.isArray(holder))
    holder.push(...Array(pick(random, [1, 50])).fill(holder[Number(key)]));
  else holder[key] = pick(random, VALUES);
}

function nested(value: unknown, depth: number): unknown {
  let outer = value;
  for (let level = 0; level < depth; level++) outer = [outer];
  return outer;
}
