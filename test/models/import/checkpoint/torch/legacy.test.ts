import { open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import { readTorchLegacy } from '../../../../../src/models/import/checkpoint/torch/legacy.ts';

const fixture = join(import.meta.dirname, '..', 'fixtures', 'views-legacy.pth');

/** Reads a checkpoint from its bytes, through a file as it always is. */
async function read(directory: string, bytes: Uint8Array) {
  const path = join(directory, 'checkpoint');
  await writeFile(path, bytes);
  await using file = await open(path);
  return await readTorchLegacy(file);
}

/** The bytes with one part, which must be there once, replaced by another of the same length. */
function replaced(bytes: Buffer, from: string, to: string): Buffer {
  const text = bytes.toString('latin1');
  if (text.split(from).length !== 2 || from.length !== to.length)
    throw new Error(`${from} is not there once`);
  return Buffer.from(
    text.replace(from, () => to),
    'latin1',
  );
}

test('storages are found behind the pickles', async (t) => {
  const bytes = await readFile(fixture);
  const { value, storageStarts } = await read(t.testdir(), bytes);
  t.type(value, Map);
  const starts = [...storageStarts.values()].sort((a, b) => a - b);
  t.equal(starts.length, new Set(starts).size);
  for (const start of starts)
    t.ok(bytes.readBigInt64LE(start - 8) <= 120n, 'the number of elements is before it');
});

test('a checkpoint that is cut off, or not of PyTorch, is refused', async (t) => {
  const directory = t.testdir();
  const good = await readFile(fixture);
  const { storageStarts } = await read(directory, good);
  const starts = [...storageStarts.values()].sort((a, b) => a - b);
  const [first, second] = [...storageStarts.keys()] as [string, string];
  const counted = Buffer.from(good);
  counted.writeBigInt64LE(1n << 40n, starts[2]! - 8);
  // The keys come once more, as a list, behind the pickle that describes the storages.
  const list = good.lastIndexOf(first);
  const twice = Buffer.from(good);
  twice.write(first, good.lastIndexOf(second));
  const unknown = Buffer.from(good);
  unknown.write(first.replace(/\d/g, '1'), list);
  for (const [what, bytes, message] of [
    ['empty', Buffer.alloc(0), /cut off/],
    ['only begun', good.subarray(0, 30), /cut off/],
    ['cut off in the pickle', good.subarray(0, 400), /cut off/],
    [
      'cut off before a number of elements',
      good.subarray(0, starts[1]! - 8),
      /Storage \d+ .* damaged or cut off/,
    ],
    [
      'cut off in the last storage',
      good.subarray(0, -1),
      /Storage \d+ of \d+ elements is damaged or cut off/,
    ],
    ['another number of elements', counted, /Storage \d+ of \d+ elements is damaged/],
    ['a storage listed twice', twice, /names one twice/],
    ['a storage that no tensor has', unknown, /names one twice, or one that no tensor has/],
    [
      'another magic number',
      replaced(good, '\x8a\x0al\xfc\x9cF\xf9', '\x8a\x0al\xfc\x9cF\xf8'),
      /torch\.save did not/,
    ],
    ['another protocol', replaced(good, 'M\xe9\x03.', 'M\xea\x03.'), /not of protocol 1001/],
    ['big-endian', replaced(good, 'little_endianq\x02\x88', 'little_endianq\x02\x89'), /big-endian/],
  ] as const) {
    await t.rejects(read(directory, bytes), { code: 'checkpoint-invalid', message }, what);
  }
});
