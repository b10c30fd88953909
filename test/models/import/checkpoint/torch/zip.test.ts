import { open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import { LoradropError } from '../../../../../src/base/errors.ts';
import { seededRandom } from '../../../../../src/base/random.ts';
import { readTorchZip } from '../../../../../src/models/import/checkpoint/torch/zip.ts';
import { RECORD, type ZipEntry, zipEntries } from './zip-entries.ts';

const fixture = join(import.meta.dirname, '..', 'fixtures', 'views.pth');

/** Reads an archive from its bytes, through a file as it always is. */
async function read(directory: string, archive: Uint8Array) {
  const path = join(directory, 'archive');
  await writeFile(path, archive);
  await using file = await open(path);
  return await readTorchZip(file);
}

/** Bytes of PyTorch's end-of-directory records: the zip64 one, its locator, the plain one. */
const [ZIP64_END_BYTES, LOCATOR_BYTES, END_BYTES] = [56, 20, 22];

type Edit = (archive: Buffer, entry: (name: string) => ZipEntry) => Buffer | undefined;

const refused: readonly (readonly [what: string, edit: Edit, message: RegExp])[] = [
  ['cut off in the directory', (archive) => archive.subarray(0, -30), /damaged, cut off or unsafe/],
  ['cut off in a storage', (archive, entry) => archive.subarray(0, entry('data/3').start), /cut off/],
  ['only begun', () => Buffer.from('PK\x03\x04'), /cut off/],
  [
    'without its pickle',
    (archive, entry) => void archive.write('data.pki', entry('data.pkl').record + RECORD.name + 6),
    /no data\.pkl/,
  ],
  [
    'a storage is missing',
    (archive, entry) => void archive.write('0', entry('data/3').record + RECORD.name + 6 + 5),
    /Entry views\/data\/0 is there twice/,
  ],
  [
    'a storage is renamed',
    (archive, entry) => void archive.write('x', entry('data/3').record + RECORD.name + 6 + 5),
    /Storage data\/3 has no bytes, the pickle says \d+/,
  ],
  [
    'a storage is shorter than its tensors say',
    (archive, entry) => {
      archive.writeUInt32LE(4, entry('data/2').record + RECORD.compressed);
      archive.writeUInt32LE(4, entry('data/2').record + RECORD.uncompressed);
    },
    /Storage data\/2 has 4 bytes, the pickle says 96/,
  ],
  [
    'an entry is encrypted',
    (archive, entry) => {
      const { record, bytes } = entry('data/2');
      archive.writeUInt16LE(archive.readUInt16LE(record + RECORD.flags) | 1, record + RECORD.flags);
      archive.writeUInt32LE(bytes + 12, record + RECORD.compressed);
    },
    /Entry views\/data\/2 is encrypted/,
  ],
  [
    'an entry is strongly encrypted',
    (archive, entry) => void archive.writeUInt16LE(0x41, entry('data/2').record + RECORD.flags),
    /strong encryption/,
  ],
  [
    'an entry would unpack to 4 GB',
    (archive, entry) => {
      archive.writeUInt16LE(8, entry('data/1').record + RECORD.method);
      archive.writeUInt32LE(0xffff_fffe, entry('data/1').record + RECORD.uncompressed);
    },
    /Entry views\/data\/1 is compressed/,
  ],
  [
    'an entry leads out',
    (archive, entry) => void archive.write('../../root.', entry('data/1').record + RECORD.name),
    /unsafe: invalid relative path: \.\.\/\.\.\/root\./,
  ],
  [
    'an entry has an absolute path',
    (archive, entry) => void archive.write('/', entry('data/1').record + RECORD.name),
    /unsafe: absolute path/,
  ],
  [
    'an entry has a backslash',
    (archive, entry) => void archive.write('\\', entry('data/1').record + RECORD.name + 5),
    /unsafe: invalid characters/,
  ],
  [
    'an entry is outside of the top folder',
    (archive, entry) => void archive.write('other', entry('data/1').record + RECORD.name),
    /Entry other\/data\/1 lies outside/,
  ],
  [
    'two entries are the same bytes',
    (archive, entry) => {
      const header = archive.readUInt32LE(entry('data/3').record + RECORD.header);
      archive.writeUInt32LE(header, entry('data/4').record + RECORD.header);
    },
    /Entry views\/data\/4 overlaps the one before it/,
  ],
  [
    'an entry begins inside another',
    (archive, entry) => {
      // data.pkl is large enough to hide a header of its own.
      const { start, record } = entry('data/1');
      const inside = entry('data.pkl').start + 64;
      archive.copy(archive, inside, archive.readUInt32LE(record + RECORD.header), start);
      archive.writeUInt32LE(inside, record + RECORD.header);
    },
    /Entry views\/data\/1 overlaps/,
  ],
  [
    'an entry reaches beyond the file',
    (archive, entry) => {
      archive.writeUInt32LE(0x7fff_ffff, entry('data/1').record + RECORD.compressed);
      archive.writeUInt32LE(0x7fff_ffff, entry('data/1').record + RECORD.uncompressed);
    },
    /file data overflows file bounds/,
  ],
  [
    'the directory claims 10⁹ entries',
    (archive) => {
      const end = archive.length - END_BYTES - LOCATOR_BYTES - ZIP64_END_BYTES;
      archive.writeBigUInt64LE(1_000_000_000n, end + 24);
      archive.writeBigUInt64LE(1_000_000_000n, end + 32);
    },
    /claims 1000000000 entries; 8208 can be read/,
  ],
  [
    'the directory begins where no file can',
    (archive) => void archive.writeBigUInt64LE(2n ** 63n, archive.length - END_BYTES - LOCATOR_BYTES - 8),
    /damaged, cut off or unsafe/,
  ],
  [
    'the storages are big-endian',
    (archive, entry) => {
      const { record, start } = entry('byteorder');
      archive.write('big', start);
      archive.writeUInt32LE(3, record + RECORD.compressed);
      archive.writeUInt32LE(3, record + RECORD.uncompressed);
    },
    /big-endian/,
  ],
];

test('an archive is read from its directory', async (t) => {
  const archive = await readFile(fixture);
  const { value, storageStarts } = await read(t.testdir(), archive);
  t.type(value, Map);
  const entries = zipEntries(archive);
  for (const [key, start] of storageStarts) t.equal(start, entries.get(`data/${key}`)!.start);
  t.equal(storageStarts.size, [...entries.keys()].filter((name) => name.startsWith('data/')).length);
});

test('an archive that is damaged, or made to do harm, is refused and the entry named', async (t) => {
  const directory = t.testdir();
  const good = await readFile(fixture);
  const entries = zipEntries(good);
  for (const [what, edit, message] of refused) {
    const copy = Buffer.from(good);
    const archive = edit(copy, (name) => entries.get(name)!) ?? copy;
    t.notSame(archive, good, `${what}: the edit changes something`);
    await t.rejects(read(directory, archive), { code: 'checkpoint-invalid', message }, what);
  }
});

test('a name may not be longer than a tensor’s', async (t) => {
  // An archive with one entry, empty and of a long name; the directory is behind its header.
  const name = Buffer.from(`top/${'x'.repeat(600)}`);
  const header = Buffer.alloc(30);
  header.writeUInt32LE(0x04034b50, 0);
  header.writeUInt16LE(name.length, 26);
  const record = Buffer.alloc(46);
  record.writeUInt32LE(0x02014b50, 0);
  record.writeUInt16LE(name.length, 28);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(1, 8);
  end.writeUInt16LE(1, 10);
  end.writeUInt32LE(header.length + name.length, 16);
  await t.rejects(read(t.testdir(), Buffer.concat([header, name, record, name, end])), {
    code: 'checkpoint-invalid',
    message: /name of more than 512 bytes/,
  });
});

test('whatever bytes are wrong, the file is read or refused', async (t) => {
  const directory = t.testdir();
  const good = await readFile(fixture);
  const random = seededRandom(7);
  const outcomes = { read: 0, refused: 0 };
  for (let round = 0; round < 150; round++) {
    const archive = Buffer.from(good);
    // Most of the structure is in the pickle and in the directory; storages are plain numbers.
    for (let change = 0; change < 3; change++) {
      archive[(random.next() >>> 0) % archive.length] = random.next() & 0xff;
    }
    await read(directory, archive).then(
      () => outcomes.read++,
      (error: unknown) => {
        if (!(error instanceof LoradropError)) throw error;
        outcomes.refused++;
      },
    );
  }
  t.ok(outcomes.read > 10 && outcomes.refused > 10, JSON.stringify(outcomes));
});
