/**
 * A walk through the header of a GGUF file, ahead of the library that reads it: that one takes what lies past the end of the
 * file for zeros, so a count of 2⁴⁰ would keep it busy until the memory is gone.
 */
import type { FileHandle } from 'node:fs/promises';
import { evaluationErrors } from './errors.ts';

/** Largest header that is read: the vocabulary of the largest published models takes 20 MB. */
const MAX_HEADER_BYTES = 256 << 20;
/** Entries of the metadata; published models have fewer than a hundred. */
const MAX_ENTRIES = 65_536;
/** Arrays within arrays; no published key has any. */
const MAX_DEPTH = 4;
/** Sides of a tensor, by the format's definition. */
const MAX_SIDES = 4;
/** Bytes read at a time. */
const WINDOW_BYTES = 1 << 20;

const STRING = 8;
const ARRAY = 9;
/** Bytes of a value by its type, where all have the same. */
const VALUE_BYTES: Readonly<Record<number, number>> = {
  0: 1,
  1: 1,
  2: 2,
  3: 2,
  4: 4,
  5: 4,
  6: 4,
  7: 1,
  10: 8,
  11: 8,
  12: 8,
};

/**
 * Walks from the magic to the last tensor's entry. Errors: `base-model-unusable` for a header that is cut off, names a type
 * there is none of, or exceeds a limit; the system's own errors of reading.
 */
export async function checkGgufHeader(file: FileHandle): Promise<void> {
  const { size } = await file.stat();
  const end = Math.min(size, MAX_HEADER_BYTES);
  const window = Buffer.alloc(Math.min(WINDOW_BYTES, size));
  let [windowStart, windowEnd, at] = [0, 0, 0];

  /** Steps over bytes, which have to be there. */
  const step = (bytes: number): void => {
    if (bytes > end - at) throw damaged('it is cut off, or longer than any header');
    at += bytes;
  };
  const number = async (bytes: 4 | 8): Promise<number> => {
    const start = at;
    step(bytes);
    if (start < windowStart || at > windowEnd) {
      const { bytesRead } = await file.read(window, 0, window.length, start);
      [windowStart, windowEnd] = [start, start + bytesRead];
      if (at > windowEnd) throw damaged('it is cut off');
    }
    const place = start - windowStart;
    // Beyond 2⁵³ a number is not exact, and still far beyond every limit.
    return bytes === 4 ? window.readUInt32LE(place) : Number(window.readBigUInt64LE(place));
  };
  const value = async (type: number, depth = 0): Promise<void> => {
    if (type === STRING) return step(await number(8));
    if (type !== ARRAY) return step(bytesOf(type));
    if (depth === MAX_DEPTH) throw damaged('it nests arrays too deep');
    const itemType = await number(4);
    const count = await number(8);
    if (itemType !== STRING && itemType !== ARRAY) return step(count * bytesOf(itemType));
    for (let index = 0; index < count; index++) await value(itemType, depth + 1);
  };

  step(4);
  const version = await number(4);
  if (version !== 2 && version !== 3) throw damaged(`its version is ${version}, not 2 or 3`);
  const tensors = await number(8);
  const entries = await number(8);
  if (entries > MAX_ENTRIES) throw damaged(`it has ${entries} entries`);
  for (let index = 0; index < entries; index++) {
    await value(STRING);
    await value(await number(4));
  }
  for (let index = 0; index < tensors; index++) {
    await value(STRING);
    const sides = await number(4);
    if (sides > MAX_SIDES) throw damaged('a tensor has too many sides');
    // Its shape, type and offset.
    step(sides * 8 + 12);
  }
}

function bytesOf(type: number): number {
  const bytes = VALUE_BYTES[type];
  if (bytes === undefined) throw damaged('a value has a type that is not known');
  return bytes;
}

function damaged(reason: string) {
  return evaluationErrors.base(`Its GGUF metadata cannot be read: ${reason}.`);
}
